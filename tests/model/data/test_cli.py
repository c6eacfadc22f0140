import argparse
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from model.data import beibei, cli, gowalla, taobao_ad
from model.data.beibei import carted_not_bought
from model.data.load import load_dataset
from model.data.tables import DataError


def run(*argv):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([str(entry) for entry in argv]))


def write_taobao(folder):
    folder.mkdir()
    (folder / "u.user").write_text("0 8 2 2 2 2 3 0 3 \r\n1 0 0 1 0 0 1 0 0 \r\n")
    (folder / "u.item").write_text("0 118 97 1\r\n1 0 0 0\r\n2 42 0 1\r\n")
    (folder / "train.txt").write_text("0 2 0\r\n1 1\r\n")
    (folder / "test.txt").write_text("1 0\r\n")
    return folder


def test_taobao_ad_when_the_files_are_tiny(tmp_path):
    taobao_ad.write(write_taobao(tmp_path / "source"), tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "ads.parquet").to_pylist() == [
        {"ad_id": "0", "category": "118", "brand": "97", "price_level": "1"},
        {"ad_id": "1", "category": "0", "brand": None, "price_level": "0"},
        {"ad_id": "2", "category": "42", "brand": None, "price_level": "1"},
    ]
    user = pq.read_table(tmp_path / "out" / "users.parquet").to_pylist()[1]
    assert user == {"user_id": "1", "cms_segid": "0", "cms_group_id": "0", "gender": "1", "age_level": "0",
                    "pvalue_level": None, "shopping_level": "1", "occupation": "0", "new_user_class_level": None}
    data = load_dataset(tmp_path / "out")
    assert data.spec == taobao_ad.SPEC
    assert list(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True)) == [(0, 2), (0, 0), (1, 1)]
    assert list(zip(data.test.users.tolist(), data.test.items.tolist(), strict=True)) == [(1, 0)]
    assert data.train.labels.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(("name", "text", "says"), [
    ("u.user", "0 8 2 2 2 2 3 0\n", r"u\.user: row 0 has 8 entries, expected 9"),
    ("u.item", "0 1 2 x\n", r"u\.item: .*'x'.* every entry must be an integer"),
    ("test.txt", "0 -1\n", r"test\.txt: -1 is negative"),
    ("train.txt", "0 1.5\n", r"train\.txt: .*'1\.5'.* every entry must be an integer"),
])
def test_taobao_ad_is_refused_when_a_file_is_malformed(tmp_path, name, text, says):
    source = write_taobao(tmp_path / "source")
    (source / name).write_text(text)
    with pytest.raises(DataError, match=says):
        taobao_ad.write(source, tmp_path / "out")


def test_gowalla_when_the_matrices_are_tiny(tmp_path):
    train = sparse.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]]))
    test = sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 0]]))
    sparse.save_npz(tmp_path / "train.npz", train)
    sparse.save_npz(tmp_path / "test.npz", test)
    gowalla.write(tmp_path, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert data.users.categorical.shape == (2, 0)
    assert data.train.items.tolist() == [0, 2, 1]
    assert data.test.items.tolist() == [1, 0]
    sparse.save_npz(tmp_path / "test.npz", test[:1])
    with pytest.raises(DataError, match=r"train.npz has shape \(2, 3\), test.npz \(1, 3\)"):
        gowalla.write(tmp_path, tmp_path / "out")
    (tmp_path / "test.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="is no sparse matrix"):
        gowalla.write(tmp_path, tmp_path / "out")


def test_beibei_takes_the_test_pairs_out_of_the_carts(tmp_path):
    (tmp_path / "cart_train.txt").write_text("0 0 1 2\n1 1 2\n")
    (tmp_path / "buy_train.txt").write_text("0 0\n1 1\n")
    (tmp_path / "buy_test.txt").write_text("0 2\n1 0\n")
    beibei.write(tmp_path, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert [task.name for task in data.spec.tasks] == ["buy", "cart"]
    train = zip(data.train.users.tolist(), data.train.items.tolist(), data.train.labels.tolist(), strict=True)
    assert list(train) == [(0, 0, [1, 1]), (0, 1, [0, 1]), (1, 1, [1, 1]), (1, 2, [0, 1])]
    assert data.test.items.tolist() == [2, 0]
    baseline = json.loads((tmp_path / "out" / "baseline.json").read_text())
    assert baseline == {"carted, not bought": {"recall@20": 1.0, "recall@100": 1.0}, "removed_cart_pairs": 1}


def test_carted_not_bought_equals_a_plain_ranking():
    rng = np.random.default_rng(3)
    n_users, n_items = 40, 130
    cart = np.unique(rng.integers(0, n_users * n_items, 900))
    buy = np.unique(np.concatenate([rng.choice(cart, 200), rng.integers(0, n_users * n_items, 50)]))
    test = np.setdiff1d(np.unique(np.concatenate([rng.choice(cart, 30), rng.integers(0, n_users * n_items, 30)])), buy)
    popularity = np.bincount(buy % n_items, minlength=n_items)
    hits: dict[int, list[list[bool]]] = {20: [], 100: []}
    for user in np.unique(test // n_items):
        carted, bought, wanted = (set((p[p // n_items == user] % n_items).tolist()) for p in (cart, buy, test))
        ranking = sorted(set(range(n_items)) - bought, key=lambda i: (i not in carted, -popularity[i], i))
        for k, found in hits.items():
            found.append(np.mean([item in ranking[:k] for item in wanted]))
    expected = {f"recall@{k}": pytest.approx(np.mean(found)) for k, found in hits.items()}
    assert carted_not_bought(cart, buy, test, n_users, n_items) == expected


def test_the_command_writes_a_world_and_a_log_of_ones_own(tmp_path, tiny, capsys):
    assert run("synthetic", "--ads", 50, "--users", 40, "--events", 900, "--seed", 2, "--out", tmp_path / "world") == 0
    assert len(load_dataset(tmp_path / "world").items) == 50
    assert run("parquet", "--source", tiny.save(tmp_path / "log"), "--out", tmp_path / "out") == 0
    assert len(load_dataset(tmp_path / "out").train) == 5
    assert f"wrote {tmp_path / 'out'}" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "says"), [
    (["gowalla", "--out", "x"], "source gowalla needs --source"),
    (["gowalla", "--source", "nowhere", "--out", "x"], "train.npz does not exist; --source must name"),
    (["beibei", "--source", "nowhere", "--out", "x"], "cart_train.txt does not exist; --source must name"),
    (["parquet", "--source", "x", "--out", "./x"], "--source and --out are both x; name another folder"),
    (["synthetic", "--events", "-3", "--out", "x"], "--events is -3; give a number from 1"),
])
def test_the_command_says_what_is_wrong_and_fails(argv, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 1
    assert says in capsys.readouterr().err


@pytest.fixture(scope="module")
def real_data():
    folder = os.environ.get("DATA_DIR")
    if not folder:
        pytest.skip("DATA_DIR is not set; it names the folder that holds taobao-ad, gowalla and beibei")
    return Path(folder)


@pytest.mark.parametrize(("name", "users", "items", "train", "test"), [
    ("taobao-ad", 33_932, 24_624, 227_108, 54_723),
    ("gowalla", 29_858, 40_981, 810_128, 217_242),
    ("beibei", 21_716, 7_977, 642_622 - 13_525, 21_716),
])
def test_a_public_data_set_has_the_published_size(real_data, tmp_path, name, users, items, train, test):
    if not (real_data / name).is_dir():
        pytest.skip(f"DATA_DIR {real_data} holds no {name}")
    assert run(name, "--source", real_data / name, "--out", tmp_path) == 0
    data = load_dataset(tmp_path)
    assert (len(data.user_ids), len(data.items), len(data.train), len(data.test)) == (users, items, train, test)
    if name == "beibei":
        baseline = json.loads((tmp_path / "baseline.json").read_text())
        assert baseline["removed_cart_pairs"] / test == pytest.approx(0.62, abs=0.005)
        assert baseline["carted, not bought"]["recall@20"] == pytest.approx(0.596, abs=0.001)
