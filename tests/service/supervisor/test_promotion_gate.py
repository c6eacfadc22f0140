"""The promotion gate, asked about candidates that are worse in one planted way each."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import SearchDefaults
from index_store.features.ragged import Ragged
from service.settings import Settings
from service.supervisor.promotion_gate import GateLimits, compare
from service.supervisor.shadow_evidence import ShadowEvidence
from tests.resealed import reseal
from tests.targeted_bundle import write_targeted_bundle
from tests.tiny_bundle import write_tiny_bundle

DEFAULTS = GateLimits.of(Settings())
LIMITS = replace(DEFAULTS, latency_rise=5.0)  # so that a noisy machine decides nothing
REQUESTS = [orjson.dumps({"user_id": f"user-{number:02d}"}) for number in range(40)]
FEW = REQUESTS[:5]
"""For what is sealed or counted, which no request decides."""


def failed(comparison):
    return {row.name for row in comparison.measures if not row.passed}


def sealed_quality(**evaluation):
    return lambda writer: writer.json(layout.EVALUATION, evaluation)


def with_shuffled_leaves(folder):
    """The ads change places below a tree that stays as it is: exhaustive answers are the same, the beam goes astray."""
    content = Bundle.open(folder).content
    order = np.random.default_rng(0).permutation(content.tree.n_items)

    def change(writer):
        writer.array(layout.TREE_ROWS, content.tree.rows[order])
        writer.array(layout.level_array("embeddings", content.tree.depth), content.embeddings[-1][order])
        writer.ragged(layout.ITEM_KEYS, content.keys_of_position.take(order).lists)

    return change


def test_bundle_passes_when_it_is_equal(tiny_bundle):
    comparison = compare(tiny_bundle, tiny_bundle, REQUESTS, LIMITS)
    assert not failed(comparison), comparison.text()
    assert comparison.passed
    assert [row.name for row in comparison.measures] == ["refused requests", "ads in the index", "overlap, replayed",
                                                     "ads returned", "search, median CPU ms"]
    assert comparison.basis == "40 recorded requests, 40 of them searched exhaustively too"


def test_bundle_fails_by_overlap_when_its_tree_is_shuffled(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "shuffled", with_shuffled_leaves(tiny_bundle))
    comparison = compare(tmp_path / "shuffled", tiny_bundle, REQUESTS, LIMITS)
    assert "overlap, replayed" in failed(comparison), comparison.text()
    assert compare(tiny_bundle, tmp_path / "shuffled", REQUESTS, LIMITS).passed


def test_bundle_fails_by_its_ads_when_it_has_fewer(tiny_bundle, tmp_path):
    write_tiny_bundle(tmp_path / "fewer", n_items=250)
    assert "ads in the index" in failed(compare(tmp_path / "fewer", tiny_bundle, FEW, LIMITS))


def test_bundle_fails_by_what_it_returns_when_all_users_are_alike(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "alike",
           lambda writer: writer.ragged(layout.USER_HISTORY, Ragged.of([[]] * 40)))
    assert "ads returned" in failed(compare(tmp_path / "alike", tiny_bundle, REQUESTS, LIMITS))


def test_bundle_fails_by_latency_when_its_beam_is_wide(tmp_path):
    write_tiny_bundle(tmp_path / "narrow", n_items=6000)
    reseal(tmp_path / "narrow", tmp_path / "wide", lambda writer: None, search=SearchDefaults((12, 24), 10))
    comparison = compare(tmp_path / "wide", tmp_path / "narrow", REQUESTS, DEFAULTS)
    assert failed(comparison) == {"search, median CPU ms"}, comparison.text()


@pytest.mark.parametrize(("evaluation", "worse"), [
    ({"recall@20": 0.1, "recall@100": 0.3}, set()),
    ({"recall@20": 0.097, "recall@100": 0.2}, {"recall@100, sealed"}),
    ({"recall@20": 0.1}, {"recall@100, sealed"}),
    ({"recall@20": 0.1, "recall@100": None}, {"recall@100, sealed"})])
def test_bundle_fails_by_recall_when_less_was_sealed(tiny_bundle, tmp_path, evaluation, worse):
    for name, quality in (("current", {"recall@20": 0.1, "recall@100": 0.3}), ("candidate", evaluation)):
        reseal(tiny_bundle, tmp_path / name, sealed_quality(**quality))
    assert failed(compare(tmp_path / "candidate", tmp_path / "current", FEW, LIMITS)) == worse


def test_recall_is_not_compared_when_the_current_bundle_has_no_test_user(tiny_bundle, tmp_path):
    for name, recall in (("current", None), ("candidate", 0.1)):
        reseal(tiny_bundle, tmp_path / name, sealed_quality(**{"recall@20": recall}))
    assert failed(compare(tmp_path / "candidate", tmp_path / "current", FEW, LIMITS)) == set()


def test_bundle_fails_by_overlap_when_less_was_sealed(tiny_bundle, tmp_path):
    for name, overlap in (("current", 0.95), ("candidate", 0.9)):
        curve = [{"beam_width": [3, 6], "overlap": overlap, "pairs": 90}]
        reseal(tiny_bundle, tmp_path / name, sealed_quality(beam_curve=curve))
    assert failed(compare(tmp_path / "candidate", tmp_path / "current", FEW, LIMITS)) == {"overlap, sealed"}


def test_bundle_fails_and_says_why_when_it_refuses_what_the_current_one_answers(tiny_bundle, tmp_path):
    write_targeted_bundle(tiny_bundle, tmp_path / "targeted")
    requests = [b'{"user_id": "user-01", "context": {"hour": 3}}', b'{"user_id": "user-01"}', b"no request"]
    comparison = compare(tiny_bundle, tmp_path / "targeted", requests, LIMITS)
    assert "refused requests" in failed(comparison)
    assert comparison.basis.startswith("2 recorded requests, 1 of them")
    assert comparison.text().endswith("the candidate refused 1 with invalid_context")


@pytest.mark.parametrize(("found", "worse"), [
    ({}, set()), ({"overlap": 0.25}, {"overlap with what was returned, shadow"}),
    ({"drift": {"click": -0.2, "convert": 0.01}}, {"probability of click off by, shadow"}),
    ({"seconds": 0.013}, {"answer, mean CPU ms, shadow"})])
def test_bundle_fails_by_what_was_seen_of_it_as_a_shadow(tiny_bundle, found, worse):
    evidence = ShadowEvidence(**{"compared": 1234, "overlap": 0.6, "drift": {"click": 0.02, "convert": -0.01},
                                 "seconds": 0.002, "current_seconds": 0.002, **found})
    comparison = compare(tiny_bundle, tiny_bundle, FEW, LIMITS, evidence)
    assert failed(comparison) == worse, comparison.text()
    assert "1,234 answers compared with it as a shadow" in comparison.text()


def test_golden_requests_are_replayed_when_none_are_recorded(tiny_bundle):
    assert compare(tiny_bundle, tiny_bundle, [], LIMITS).basis.startswith("7 golden requests, 7 of them")


def test_one_request_is_searched_exhaustively_when_there_is_no_time(tiny_bundle):
    comparison = compare(tiny_bundle, tiny_bundle, REQUESTS, replace(LIMITS, seconds=1e-9))
    assert comparison.basis.endswith("1 of them searched exhaustively too")


def test_diff_is_aligned_and_marks_what_is_worse_when_it_is_read(tiny_bundle, tmp_path):
    write_tiny_bundle(tmp_path / "fewer", n_items=250)
    header, *rows, basis = compare(tmp_path / "fewer", tiny_bundle, FEW, LIMITS).text().splitlines()
    assert header.split() == ["measure", "current", "candidate", "allowed"]
    assert {len(row.removesuffix("WORSE").rstrip()) for row in rows} == {len(header)}
    (ads,) = [row for row in rows if row.startswith("ads in the index")]
    assert ads.split()[4:] == ["300", "250", "at", "least", "270", "WORSE"]
    assert basis.startswith("5 recorded requests")
