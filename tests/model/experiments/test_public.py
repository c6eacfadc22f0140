"""The public benchmark's tables by their commands, on a planted split; and what is refused before anything runs."""

import json
import shutil

import numpy as np
import pytest
from scipy import sparse

from model.config import ConfigError
from model.experiments import public
from model.experiments.cells import Cell
from model.experiments.cli import EXPERIMENTS
from tests.model.backbone.splits import planted, write
from tests.model.commands import model

ALL = {"table3": 6, "table6": 3, "table7": 8}
"""Rows: the small tree has two levels, so table 6 has the backbone and two depths."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    split = planted(users=150, items=80)
    train = split.train.toarray()
    train[3] = 0
    return write(tmp_path_factory.mktemp("planted") / "split", train, split.test.toarray())


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """One run of each table, on one seed."""
    folder = tmp_path_factory.mktemp("results")
    for name in ALL:
        model("experiment", name, "--data", data, "--seeds", 1, "--out", folder, "--small")
    return folder


@pytest.mark.parametrize("name", ALL)
def test_a_table_has_its_rows_as_the_contract_names_them(out, name):
    table = json.loads((out / f"{name}.json").read_text())
    assert len(table["rows"]) == ALL[name]
    assert (table["dataset"], table["users"], table["without_train"]) == ("split", 150, 1)
    for row in table["rows"]:
        assert set(row) == {"name", "seed", "recall@20", "ndcg@20", "pairs"}
        assert row["seed"] == 0
        assert 0 < row["ndcg@20"] <= 1
        assert row["name"] in (out / f"{name}.md").read_text()
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_tables_6_and_7_share_their_runs(out):
    assert len(list((out / "cells").iterdir())) == 2


def test_the_harness_check_scores_all_items_and_a_beam_fewer(out):
    pairs = {row["name"]: row["pairs"] for row in json.loads((out / "table3.json").read_text())["rows"]}
    assert pairs[public.GFCF] == 80
    assert pairs[public.SERVED] < 80


def test_the_controls_differ_from_test_time_training(out):
    (cell,) = (out / "cells").glob("public-controls-*")
    result = json.loads(cell.read_text())["result"]
    assert result["node_pairs"][public.REAL] == []
    assert result["node_pairs"][public.RANDOM] == result["node_pairs"][public.TUNED]


def test_test_pairs_in_train_are_refused_before_anything_runs(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "overlap")
    shutil.copy(folder / "train.npz", folder / "test.npz")
    pairs = sparse.load_npz(folder / "train.npz").nnz
    printed = model("experiment", "table3", "--data", folder, "--out", tmp_path / "out", "--small",
                      code=1)
    assert f"{pairs} of the {pairs} test pairs are train pairs too" in printed
    assert not (tmp_path / "out").exists()


def test_more_phi_than_levels_is_refused(data, tmp_path):
    ((kind, slug, settings),) = EXPERIMENTS["table3"].configurations(data, True)
    deep = settings | {"phi": [[0.8, 0.4, 0.2]]}
    with pytest.raises(ConfigError, match=r"phi has 3 thresholds.*2 levels"):
        EXPERIMENTS["table3"].run(Cell(kind, slug, deep, 0), data, tmp_path)


def test_a_split_in_which_nobody_can_be_held_out_is_refused(tmp_path):
    folder = write(tmp_path / "thin", np.eye(30), np.roll(np.eye(30), 1, axis=1))
    ((kind, slug, settings),) = EXPERIMENTS["table3"].configurations(folder, True)
    with pytest.raises(ConfigError, match="two train pairs"):
        EXPERIMENTS["table3"].run(Cell(kind, slug, settings, 0), folder, tmp_path)
