"""Cells: found by their content, never mixed between data sets, and named when damaged."""

import shutil

import pytest

from model.config import ConfigError
from model.experiments.cells import Cell, Results, fingerprint


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
    with pytest.raises(ConfigError, match=r"seed3-\w+.json holds no result of a cell \(it has seed\); remove"):
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
