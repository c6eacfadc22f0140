"""Cells: found by their content, never mixed between data sets, and named when damaged."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.config.errors import ConfigError
from model.data.tables import DataError
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
    shutil.copytree(log, tmp_path / "copy")
    ads = pq.read_table(log / "ads.parquet")
    pq.write_table(ads, tmp_path / "copy" / "ads.parquet", compression="gzip", use_dictionary=False)
    assert fingerprint(tmp_path / "copy") == fingerprint(log)
    pq.write_table(ads.slice(1), tmp_path / "copy" / "ads.parquet")
    assert fingerprint(tmp_path / "copy") != fingerprint(log)


def as_folder(data, name):
    """Replaces a table of a data folder by two part files as Spark writes them; returns the folder."""
    table = pq.read_table(data / name)
    (data / name).unlink()
    (data / name / "day=1").mkdir(parents=True)
    pq.write_table(table.slice(0, 5), data / name / "part-0.parquet")
    pq.write_table(table.slice(5), data / name / "day=1" / "part-0.parquet")
    return data / name


def test_data_that_differs_within_the_folder_of_a_table_has_another_fingerprint(tmp_path, log):
    found = set()
    for name, keep in (("whole", slice(None)), ("less", slice(0, 3))):
        shutil.copytree(log, tmp_path / name)
        events = as_folder(tmp_path / name, "events.parquet")
        part = pq.read_table(events / "part-0.parquet", partitioning=None)
        pq.write_table(part.take(list(range(len(part))[keep])), events / "part-0.parquet")
        found.add(fingerprint(tmp_path / name))
    whole = tmp_path / "whole" / "events.parquet"
    before = fingerprint(tmp_path / "whole")
    (whole / "_SUCCESS").touch()
    (whole / ".part-0.parquet.crc").write_bytes(b"crc")
    assert fingerprint(tmp_path / "whole") == before
    (whole / "day=1").rename(whole / "day=2")  # the day may be a field
    found.add(fingerprint(tmp_path / "whole"))
    assert len(found) == 3
    (whole / "README.md").write_text("Events of May.")
    with pytest.raises(DataError, match=r"README.md is not a Parquet file"):
        fingerprint(tmp_path / "whole")


def test_the_fingerprint_of_plain_files_stays_what_published_results_name(tmp_path):
    pq.write_table(pa.table({"ad_id": ["a", "b"], "price": [1.0, 2.0]}), tmp_path / "ads.parquet")
    (tmp_path / "features.json").write_text("{}")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "world.json").write_text("{}")
    assert fingerprint(tmp_path) == "e3e0c804178481ff"
