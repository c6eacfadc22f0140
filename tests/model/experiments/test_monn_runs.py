"""Figures of a cell that trained a MoNN."""

import shutil

import pyarrow.parquet as pq
import pytest

from model.experiments.monn_runs import overlap_at, percent_for, settings
from tests.model.data.logs import as_spark


def test_pairs_for_an_overlap_are_read_off_the_curve(tolerance=1e-9):
    result = {"items": 1000, "trees": {"em": {"scorer": [[50, 0.5], [100, 0.9], [200, 1.0]], "oracle": [[50, 0.5]]}}}
    assert percent_for(result, "em", "scorer") == pytest.approx(15.0, abs=tolerance)
    assert percent_for(result, "em", "oracle") is None
    assert overlap_at(result, "em", "scorer", 0.075) == pytest.approx(0.7, abs=tolerance)
    assert overlap_at(result, "em", "scorer", 0.04) is None


def test_the_tree_is_as_wide_for_a_folder_of_ads_as_for_a_file(tmp_path, log):
    shutil.copytree(log, tmp_path / "log")
    (tmp_path / "log" / "ads.parquet").unlink()
    as_spark(pq.read_table(log / "ads.parquet"), tmp_path / "log" / "ads.parquet", 3)
    assert settings(tmp_path / "log", small=False) == settings(log, small=False)
