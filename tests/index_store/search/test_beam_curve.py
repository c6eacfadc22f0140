"""Beams from a measured curve."""

import pytest

from index_store.search.beam_curve import Beam, BeamCurve, BeamPoint

CURVE = [{"beam_width": [4, 40], "overlap": 0.9, "pairs": 900.0}, {"beam_width": [2, 10], "overlap": 0.5, "pairs": 200},
         {"beam_width": [3, 20], "overlap": 0.7, "pairs": 400}, {"beam_width": [8, 80], "overlap": 0.88, "pairs": 2000}]
SIZES = [6, 100]


def curve(entries=CURVE, default=(3, 20)):
    return BeamCurve.of(entries, default, SIZES)


@pytest.mark.parametrize(("target", "widths", "overlap"), [
    (0.5, (2, 10), 0.5), (0.01, (2, 10), 0.5), (0.6, (2, 15), 0.6), (0.7, (3, 20), 0.7), (0.85, (4, 35), 0.85),
    (0.9, (4, 40), 0.9), (0.95, (8, 80), 0.88)])
def test_beam_lies_between_the_neighbours_when_an_overlap_is_asked_for(target, widths, overlap):
    found = curve().for_overlap(target)
    assert found.beam_width == widths
    assert found.overlap == pytest.approx(overlap)


@pytest.mark.parametrize(("pairs", "widths"), [(1e9, (8, 80)), (2000, (8, 80)), (1999, (4, 40)), (399, (2, 10)),
                                               (0, (2, 10)), (-5, (2, 10))])
def test_beam_is_the_widest_that_fits_when_pairs_are_limited(pairs, widths):
    assert curve().for_pairs(pairs).beam_width == widths


@pytest.mark.parametrize(("default", "overlap"), [((3, 20), 0.7), ((3, 19), None), ((6, 80), 0.88), ((7, 80), 0.88),
                                                  ((4, 80), None)])
def test_overlap_of_the_default_is_known_when_the_curve_holds_it(default, overlap):
    assert curve(default=default).default.overlap == overlap


def test_one_width_applies_to_all_levels_when_the_bundle_is_old():
    points = curve([{"beam_width": 8, "overlap": 0.5, "pairs": 10}], (6, 8)).points
    assert points == (BeamPoint((8, 8), 0.5, 10.0),)


def test_default_answers_everything_when_nothing_was_measured():
    empty = curve([])
    assert empty.for_overlap(0.9) == empty.for_pairs(5.0) == empty.default == Beam((3, 20), None)


@pytest.mark.parametrize("entry", [{}, {"beam_width": [1], "overlap": 0.5, "pairs": 1}, {"beam_width": [1, 0],
                         "overlap": 0.5, "pairs": 1}, {"beam_width": [1, 2], "overlap": "x", "pairs": 1}, 7])
def test_curve_is_refused_when_an_entry_is_none(entry):
    with pytest.raises((KeyError, TypeError, ValueError)):
        curve([entry])
