"""Figures of canary and shadow from samples of metrics."""

import pytest

from service.console.trial_figures import Samples, trial_figures
from service.contract.trial_schemas import TrialsReply

NOTHING = {"canary": None, "shadow": None, "ended": {"canary": None, "shadow": None}, "trials_problem": None,
           "only_current": [], "only_shadow": []}
BOTH = {"bundle_id": "new", "beside": "old"}


def test_sides_are_told_apart_with_their_failures_and_times():
    requests, seconds = "retrieval_side_requests_total", "retrieval_side_seconds_bucket"
    side = {"side": "canary", "bundle_id": "new"}
    found = trial_figures([
        (requests, {**side, "status": "200", "error_type": ""}, 8), (requests, {**side, "status": "422"}, 1),
        (requests, {**side, "status": "503"}, 2),
        (requests, {"side": "current", "bundle_id": "old", "status": "200"}, 5),
        ("retrieval_side_degraded_total", {**side, "reason": "redis"}, 3),
        (seconds, {**side, "le": "0.01"}, 4), (seconds, {**side, "le": "0.02"}, 8),
        (seconds, {**side, "le": "+Inf"}, 8)])
    canary, current = TrialsReply.model_validate({**NOTHING, **found}).sides
    assert (canary.side, canary.requests, canary.refused, canary.failed, canary.degraded) == ("canary", 11, 1, 2, 3)
    assert (canary.p50_ms, canary.p99_ms) == (10.0, 19.8)
    assert (current.requests, current.p50_ms) == (5, None)


def test_comparisons_are_means_of_each_pair_of_bundles():
    samples = [("retrieval_shadow_overlap_sum", BOTH, 3.0), ("retrieval_shadow_overlap_count", BOTH, 4.0),
               ("retrieval_shadow_skipped_total", {"reason": "busy"}, 7.0),
               ("retrieval_shadow_cpu_seconds_total", {}, 1.5)]
    for task, scale, total in (("click", "probability", 0.2), ("convert", "logit", -8.0)):
        labels = {**BOTH, "task": task, "scale": scale}
        samples += [("retrieval_shadow_drift_sum", labels, total), ("retrieval_shadow_drift_count", labels, 4.0)]
    for side, total in (("shadow", 0.4), ("current", 0.2)):
        labels = {**BOTH, "side": side}
        samples += [("retrieval_shadow_seconds_sum", labels, total), ("retrieval_shadow_seconds_count", labels, 4.0)]
    found = trial_figures(samples)
    assert TrialsReply.model_validate({**NOTHING, **found}).shadows[0].model_dump() == {
        **BOTH, "compared": 4, "overlap": 0.75, "cpu_ms": 100.0, "current_cpu_ms": 50.0, "drift": [
            {"task": "click", "scale": "probability", "mean": 0.05},
            {"task": "convert", "scale": "logit", "mean": -2.0}]}
    assert (found["skipped"], found["shadow_cpu_seconds"]) == ({"busy": 7}, 1.5)


def test_nothing_is_said_when_nothing_was_counted():
    assert trial_figures([]) == {"sides": [], "fallbacks": {}, "shadows": [], "skipped": {}, "shadow_cpu_seconds": 0}


@pytest.mark.parametrize(("wanted", "expected"), [(0.5, 1.0), (0.75, 1.5), (1.0, 2.0)])
def test_quantile_lies_evenly_within_its_bucket(wanted, expected):
    buckets = Samples([("h_bucket", {"le": "1.0"}, 2), ("h_bucket", {"le": "2.0"}, 4), ("h_bucket", {"le": "+Inf"}, 4)])
    assert buckets.quantile("h", wanted) == expected


def test_quantile_is_the_last_edge_when_it_lies_beyond():
    assert Samples([("h_bucket", {"le": "1.0"}, 0), ("h_bucket", {"le": "+Inf"}, 4)]).quantile("h", 0.5) == 1.0
