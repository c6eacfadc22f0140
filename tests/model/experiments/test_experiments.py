"""Every table runs by its command on a small world, no cell twice; what cannot work is told before anything runs."""

import json
import shutil

import numpy as np
import pytest

from model.config import ConfigError
from model.experiments.cells import Cell, Results, fingerprint
from model.experiments.cli import EXPERIMENTS
from model.experiments.figures import summary, table, text
from model.experiments.monn_runs import overlap_at, percent_for
from tests.model.commands import command


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "data"
    command("model", "data", "synthetic", "--ads", 500, "--users", 200, "--events", 4000, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Where the tables of these tests find each other's cells."""
    return tmp_path_factory.mktemp("results")


def experiment(*arguments):
    return command("model", "experiment", *arguments)


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


def test_what_a_finished_cell_says_is_what_the_table_says(log, out):
    """Even if the code would now find something else: a result is a record."""
    experiment("table5", "--data", log, "--seeds", 1, "--out", out, "--small")
    (file,) = (out / "cells").glob("monn-em-seed0-*.json")
    content = json.loads(file.read_text())
    content["result"]["quality"]["recall@20"] = 0.4321
    file.write_text(json.dumps(content))
    assert "| 0.4321 |" in experiment("table5", "--data", log, "--seeds", 1, "--out", out, "--small")


def test_what_cannot_work_is_told(tmp_path, log, out):
    assert "there is no experiment 'table9'; there are table1" in experiment_fails("table9", "--data", log)
    assert "--seeds is 0; at least 1" in experiment_fails("table5", "--data", log, "--seeds", 0)
    assert "is no folder" in experiment_fails("table5", "--data", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "features.json" in experiment_fails("table5", "--data", tmp_path / "empty")
    shutil.copytree(log, tmp_path / "untested", ignore=shutil.ignore_patterns("test_events.parquet"))
    assert "has no test_events.parquet" in experiment_fails("table5", "--data", tmp_path / "untested")
    np.savez(tmp_path / "empty" / "train.npz", a=np.arange(3))
    assert "holds LightGCN's npz files, but this table trains MoNN" in experiment_fails("table5", "--data",
                                                                                       tmp_path / "empty")


def test_results_of_another_data_set_are_not_mixed_in(tmp_path, log):
    cell = Cell("monn", "monn-em", {"tree": "em"}, 0)
    Results(tmp_path / "out", log).keep(cell, {"a": 1}, 0.0)
    assert Results(tmp_path / "out", log).find(cell) == {"a": 1}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "features.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is a result on data \(\w{16}\), but .*other is \w{16}; name another --out"):
        Results(tmp_path / "out", tmp_path / "other")


def test_a_damaged_cell_is_named(tmp_path, log):
    cell = Cell("monn", "monn-em", {}, 3)
    Results(tmp_path, log).keep(cell, {"a": 1}, 0.0)
    (tmp_path / "cells" / f"{cell.name}.json").write_text('{"seed": 3}')
    with pytest.raises(ConfigError, match=r"monn-em-seed3-\w+.json is no result of a cell \(it has seed\); remove it"):
        Results(tmp_path, log)


def test_a_cell_is_known_by_what_it_is_and_not_by_its_name():
    cell = Cell("monn", "a", {"tree": "em", "branching": (4, 3)}, 0)
    assert cell.key == Cell("monn", "b", {"branching": [4, 3], "tree": "em"}, 0).key
    others = [Cell("other", "a", cell.settings, 0), Cell("monn", "a", {"tree": "joint"}, 0),
              Cell("monn", "a", cell.settings, 1)]
    assert len({cell.key, *(other.key for other in others)}) == 4


def test_a_fingerprint_changes_with_the_rows_and_not_with_how_they_are_stored(tmp_path, log):
    import pyarrow.parquet as pq

    shutil.copytree(log, tmp_path / "copy")
    ads = pq.read_table(log / "ads.parquet")
    pq.write_table(ads, tmp_path / "copy" / "ads.parquet", compression="gzip", use_dictionary=False)
    assert fingerprint(tmp_path / "copy") == fingerprint(log)
    pq.write_table(ads.slice(1), tmp_path / "copy" / "ads.parquet")
    assert fingerprint(tmp_path / "copy") != fingerprint(log)


def test_a_summary_has_mean_and_sample_deviation():
    assert text(summary([1.0, 2.0, 3.0]), ".2f") == "2.00 ± 1.00"
    assert text(summary([2.0]), "+.1f") == "+2.0"
    assert text(summary([2.0, None])) == "–"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_pairs_for_an_overlap_are_read_off_the_curve(tolerance=1e-9):
    result = {"items": 1000, "trees": {"em": {"scorer": [[50, 0.5], [100, 0.9], [200, 1.0]], "oracle": [[50, 0.5]]}}}
    assert percent_for(result, "em", "scorer") == pytest.approx(15.0, abs=tolerance)
    assert percent_for(result, "em", "oracle") is None
    assert overlap_at(result, "em", "scorer", 0.075) == pytest.approx(0.7, abs=tolerance)
    assert overlap_at(result, "em", "scorer", 0.04) is None


def test_every_experiment_is_registered_by_its_name():
    assert all(name == found.name and found.about for name, found in EXPERIMENTS.items())


def experiment_fails(*arguments):
    """What a command says that ends with status 1."""
    return command("model", "experiment", *arguments, code=1)
