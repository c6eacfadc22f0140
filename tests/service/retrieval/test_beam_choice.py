"""Which beam a query gets, against a curve that the test knows."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.search.beam_curve import Beam
from service.contract.query import Query
from service.retrieval.beam_choice import BeamChoice, read_curve
from tests.resealed import reseal

CURVE = [{"beam_width": [1, 2], "overlap": 0.4, "pairs": 30}, {"beam_width": [2, 4], "overlap": 0.8, "pairs": 60},
         {"beam_width": [3, 6], "overlap": 0.9, "pairs": 120}]


def opened(tiny_bundle, folder, evaluation):
    reseal(tiny_bundle, folder, lambda writer: writer.json("evaluation.json", evaluation))
    return Bundle.open(folder)


@pytest.fixture
def beams(tiny_bundle, tmp_path):
    return BeamChoice(opened(tiny_bundle, tmp_path / "measured", {"beam_curve": CURVE}))


def query(**fields):
    return Query(user_id=b"u", top_k=5, task_weights=np.ones(2, np.float32), **fields)


@pytest.mark.parametrize(("asked", "width", "overlap"), [
    ({}, (3, 6), 0.9), ({"beam_width": (7, 8)}, (7, 8), None), ({"exact": True}, (3, 6), 1.0),
    ({"target_overlap": 0.6}, (2, 3), 0.6), ({"target_overlap": 1.0}, (3, 6), 0.9),
    ({"budget_ms": 5.0}, (3, 6), 0.9)])
def test_beam_is_the_one_asked_for(beams, asked, width, overlap):
    beam = beams.of(query(**asked), None)
    assert (beam.beam_width, beam.overlap) == (width, overlap)


def test_a_search_by_ecpm_has_a_curve_and_a_default_of_its_own(tiny_bundle, tmp_path):
    by_ecpm = [{"beam_width": [2, 2], "overlap": 0.9, "pairs": 30}, {"beam_width": [4, 6], "overlap": 1.0, "pairs": 90}]
    both = BeamChoice(opened(tiny_bundle, tmp_path / "both", {"beam_curve": CURVE, "ecpm_curve": by_ecpm}))
    assert both.of(query(by_ecpm=True), None).beam_width == (3, 4)
    assert both.of(query(by_ecpm=True, target_overlap=1.0), None).beam_width == (4, 6)
    assert both.of(query(), None).beam_width == (3, 6)
    without = BeamChoice(opened(tiny_bundle, tmp_path / "without", {"beam_curve": CURVE}))
    assert without.of(query(by_ecpm=True, target_overlap=0.5), None) == Beam((3, 6), None)


def test_budget_gives_a_narrower_beam_when_searches_and_overhead_take_long(beams):
    for _ in range(200):
        for pairs in (30, 60, 120):
            beams.observe_search(pairs, pairs * 1e-4)  # so 120 pairs take 12 ms
    beams.observe_search(0, 1000.0)  # says nothing
    assert beams.of(query(budget_ms=20), None).beam_width == (3, 6)
    assert beams.of(query(budget_ms=6.5), None).beam_width[0] == 2
    assert beams.of(query(budget_ms=1), None).beam_width == (1, 2)
    for _ in range(500):
        beams.observe_overhead(0.015)
    assert beams.of(query(budget_ms=20), None).beam_width == (1, 2)


def test_curve_is_empty_when_none_was_measured(tiny_bundle, tmp_path):
    for n, evaluation in enumerate(({}, [], {"beam_curve": []})):
        curve = read_curve(opened(tiny_bundle, tmp_path / str(n), evaluation))
        assert (curve.points, curve.default) == ((), Beam((3, 6), None))


@pytest.mark.parametrize("curve", [[{"beam_width": [1]}], [{"beam_width": [1, 2], "overlap": 0.5}], 5,
                                   [{"beam_width": [0, 2], "overlap": 0.5, "pairs": 3}]])
def test_bundle_is_refused_when_its_curve_is_malformed(tiny_bundle, tmp_path, curve):
    with pytest.raises(BundleError, match="malformed beam_curve"):
        BeamChoice(opened(tiny_bundle, tmp_path / "bad", {"beam_curve": curve}))
