"""Every table runs by its command on a small world, no cell twice; what cannot work is told before anything runs."""

import json
import shutil

import numpy as np
import pytest

from model.experiments.cli import EXPERIMENTS
from tests.model.commands import model


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Where the tables of these tests find each other's cells."""
    return tmp_path_factory.mktemp("results")


def experiment(*arguments):
    return model("experiment", *arguments)


@pytest.mark.parametrize(("name", "rows", "plot"), [("table5", 3, False), ("overlap", 8, True), ("table4", 4, False),
                                                 ("test-time", 4, False)])
def test_a_table_is_written_with_its_json_and_plot(log, out, name, rows, plot):
    printed = experiment(name, "--data", log, "--seeds", 1, "--out", out, "--small")
    markdown, data = (out / f"{name}.md").read_text(), json.loads((out / f"{name}.json").read_text())
    assert markdown in printed
    assert len(data["rows"]) == rows
    assert data["seeds"] == 1
    assert (out / f"{name}.png").exists() == plot
    if plot:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
@pytest.mark.parametrize(("name", "rows"), [("table1", 8), ("variants", 8)])
def test_a_table_of_models_is_written(log, tmp_path, name, rows):
    printed = experiment(name, "--data", log, "--seeds", 1, "--out", tmp_path, "--small")
    data = json.loads((tmp_path / f"{name}.json").read_text())
    assert (tmp_path / f"{name}.md").read_text() in printed
    assert len(data["rows"]) == rows
    if name == "table1":
        costs = {row["name"]: row["cost"] and row["cost"]["mean"] for row in data["rows"]}
        assert costs["TTSN"] < costs["2-layer (Small, TTSN)"] < costs["MoNN Small"] < costs["MoNN Large"]


def test_finished_cells_are_never_run_again_and_shared_by_tables(log, out):
    experiment("table5", "--data", log, "--seeds", 1, "--out", out, "--small")
    cells = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir() if "test" not in path.name}
    assert sum("monn-joint-seed0" in path.name for path in cells) == 1
    experiment("overlap", "--data", log, "--seeds", 1, "--out", out, "--small")
    experiment("table4", "--data", log, "--seeds", 1, "--out", out, "--small")
    after = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("monn-*seed0*") if "test" not in path.name}
    assert {path: after[path] for path in cells} == cells
    assert len(after) == 6  # of table 4's four rows, one is a row of table 5


def test_a_table_shows_the_figures_of_its_cells(log, out):
    """Even if the code would now find something else: a result is a record."""
    experiment("table5", "--data", log, "--seeds", 1, "--out", out, "--small")
    (file,) = (out / "cells").glob("monn-em-seed0-*.json")
    content = json.loads(file.read_text())
    content["result"]["quality"]["recall@20"] = 0.4321
    file.write_text(json.dumps(content))
    assert "| 0.4321 |" in experiment("table5", "--data", log, "--seeds", 1, "--out", out, "--small")


def test_settings_that_cannot_work_are_refused(tmp_path, log, out):
    assert "'table9' is not an experiment; choose from table1" in experiment_fails("table9", "--data", log)
    assert "--seeds is 0; at least 1" in experiment_fails("table5", "--data", log, "--seeds", 0)
    assert "is not a folder" in experiment_fails("table5", "--data", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "features.json" in experiment_fails("table5", "--data", tmp_path / "empty")
    shutil.copytree(log, tmp_path / "untested", ignore=shutil.ignore_patterns("test_events.parquet"))
    assert "has no test_events.parquet" in experiment_fails("table5", "--data", tmp_path / "untested")
    np.savez(tmp_path / "empty" / "train.npz", a=np.arange(3))
    assert "holds LightGCN's npz files, but this table trains MoNN" in experiment_fails("table5", "--data",
                                                                                       tmp_path / "empty")


def test_every_experiment_is_registered_by_its_name():
    assert all(name == found.name and found.about for name, found in EXPERIMENTS.items())


def experiment_fails(*arguments):
    """What a command says that ends with status 1."""
    return model("experiment", *arguments, code=1)
