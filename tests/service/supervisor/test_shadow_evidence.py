"""What the metrics say about a bundle in the shadow."""

import pytest

from service.supervisor.shadow_evidence import shadow_evidence
from service.telemetry import metrics


def test_evidence_is_the_means_of_one_pair_of_bundles():
    for other, share in (("now", 0.25), ("now", 0.75), ("before", 0.0)):
        metrics.SHADOW_OVERLAP.labels("evident", other).observe(share)
        metrics.SHADOW_DRIFT.labels("evident", other, "click", "probability").observe(share - 0.9)
        metrics.SHADOW_DRIFT.labels("evident", other, "click", "logit").observe(50)
        metrics.SHADOW_SECONDS.labels("evident", other, "shadow").observe(share)
        metrics.SHADOW_SECONDS.labels("evident", other, "current").observe(0.1)
    found = shadow_evidence("evident", "now")
    assert (found.compared, found.overlap, found.seconds) == (2, 0.5, 0.5)
    assert found.current_seconds == pytest.approx(0.1)
    assert found.drift == {"click": pytest.approx(-0.4)}


def test_there_is_no_evidence_when_nothing_was_compared():
    assert shadow_evidence("never", "compared") is None
