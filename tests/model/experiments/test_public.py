"""The public benchmark's tables by their commands, on a small log of ids alone; and a log that has nothing to find."""

import json

import numpy as np
import pyarrow as pa
import pytest

from model.config.errors import ConfigError
from model.data.tables import write_folder
from model.experiments import public
from model.experiments.cells import Cell
from model.sources.gowalla import SPEC
from model.sources.lines import as_text, positives
from tests.model.commands import model

ALL = {"table3": 6, "table6": 3, "table7": 4}
"""Rows: a tree over 320 items has two levels, so table 6 has MoNN and two depths; small settings leave rates out."""

USERS, ITEMS, GROUPS = 20, 320, 20


def write(folder, train, test):
    """A log of ids alone from two matrices (users, items)."""
    users, items = (np.arange(n) for n in train.shape)
    pairs = [matrix.nonzero() for matrix in (train, test)]
    write_folder(folder, SPEC, pa.table({"user_id": as_text(users)}), pa.table({"ad_id": as_text(items)}),
                 *(positives(of, item, visit=np.ones(len(of), np.int8)) for of, item in pairs))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Users who have visited nearly all items of three groups, so that they want whole nodes; the fourth has none."""
    rng = np.random.default_rng(0)
    wanted = np.stack([np.isin(np.arange(ITEMS) % GROUPS, rng.permutation(GROUPS)[:3]) for _ in range(USERS)])
    held = rng.random(wanted.shape) < 0.1
    train, test = wanted & ~held, wanted & held
    train[3] = False
    return write(tmp_path_factory.mktemp("public") / "visits", train, test)


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
    assert (table["dataset"], table["users"], table["without_train"]) == ("visits", USERS, 1)
    for row in table["rows"]:
        assert set(row) == {"name", "seed", "recall@20", "ndcg@20", "pairs", "overlap@100"}
        assert row["seed"] == 0
        assert 0 < row["ndcg@20"] <= 1
        assert row["name"] in (out / f"{name}.md").read_text()
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_tables_6_and_7_share_their_runs(out):
    assert len(list((out / "cells").iterdir())) == 2


def test_the_beam_scores_fewer_pairs_than_the_other_rows(out):
    rows = {row["name"]: row for row in json.loads((out / "table3.json").read_text())["rows"]}
    beam = rows.pop(public.SERVED)
    assert {row["pairs"] for row in rows.values()} == {ITEMS}
    assert 0 < beam["pairs"] < ITEMS
    assert 0 < beam["overlap@100"] <= 1
    assert {row["overlap@100"] for row in rows.values()} == {None}


def test_the_controls_have_no_pairs_or_as_many_as_test_time_training(out):
    (cell,) = (out / "cells").glob("public-controls-*")
    found = json.loads(cell.read_text())["result"]["node_pairs"]
    assert found[public.REAL] == {}
    assert sum(found[public.RANDOM].values()) == sum(found[public.TUNED].values()) > 0


def test_the_default_tree_is_that_of_table_3_and_the_papers_that_of_the_others(data):
    ((_, _, controls),), ((_, _, by_phi),) = public.by_controls(data, False), public.by_phi(data, False)
    assert (controls["branching"], controls["phi"]) == ([26], [0.8])
    assert by_phi["branching"] == [8, 10]
    assert {len(phi) for phi in by_phi["phi"]} == {1, 2}


def test_a_log_whose_test_items_are_all_train_items_is_refused_before_the_training(tmp_path):
    folder = write(tmp_path / "repeated", np.eye(30), np.eye(30))
    ((kind, slug, settings),) = public.by_controls(folder, True)
    with pytest.raises(ConfigError, match="no user with a test item that is not a train item"):
        public.run_controls(Cell(kind, slug, settings, 0), folder, tmp_path / "work")
    assert not (tmp_path / "work").exists()
