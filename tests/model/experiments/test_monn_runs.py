"""Figures of a cell that trained a MoNN."""

import pytest

from model.experiments.monn_runs import overlap_at, percent_for


def test_pairs_for_an_overlap_are_read_off_the_curve(tolerance=1e-9):
    result = {"items": 1000, "trees": {"em": {"scorer": [[50, 0.5], [100, 0.9], [200, 1.0]], "oracle": [[50, 0.5]]}}}
    assert percent_for(result, "em", "scorer") == pytest.approx(15.0, abs=tolerance)
    assert percent_for(result, "em", "oracle") is None
    assert overlap_at(result, "em", "scorer", 0.075) == pytest.approx(0.7, abs=tolerance)
    assert overlap_at(result, "em", "scorer", 0.04) is None
