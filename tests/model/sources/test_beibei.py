"""Beibei: carts without the test buys, and the baseline that they would have reached."""

import json

import numpy as np
import pytest

from model.data.load import load_dataset
from model.sources import beibei
from model.sources.beibei import carted_not_bought


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
