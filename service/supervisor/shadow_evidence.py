"""What comparisons with a shadow say about a bundle, read from the metrics of all workers of this replica."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from service.telemetry import metrics

_PROBABILITY = "probability"


@dataclass(frozen=True)
class ShadowEvidence:
    """Means over the requests that were compared.

    Attributes:
        compared: how many they are.
        overlap: share of the returned ads that the shadow shows too.
        drift: task -> what the shadow's probabilities of the ads that both show are above those that were returned.
        seconds, current_seconds: processor time in the shadow, and in the bundle that answers.
    """

    compared: int
    overlap: float
    drift: Mapping[str, float]
    seconds: float
    current_seconds: float


def shadow_evidence(bundle_id: str, beside: str) -> ShadowEvidence | None:
    """What is known of a bundle in the shadow of another one; None if nothing is.

    Args:
        bundle_id: of the shadow.
        beside: id of the bundle that answers.
    """
    values: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, labels, value in metrics.samples():
        family, _, part = name.rpartition("_")
        if family.startswith("retrieval_shadow_") and (labels.get("bundle_id"), labels.get("beside")) == (
                bundle_id, beside) and part in ("sum", "count"):
            kind = "" if labels.get("scale", _PROBABILITY) == _PROBABILITY else "logits of "
            values[f"{family} {kind}{labels.get('task', labels.get('side', ''))}"][part] += value
    means = {name: parts["sum"] / parts["count"] for name, parts in values.items() if parts["count"]}
    compared = int(values["retrieval_shadow_overlap "]["count"])
    if not compared:
        return None
    drift = {name.partition(" ")[2]: mean for name, mean in means.items()
             if name.startswith("retrieval_shadow_drift ") and "logits of" not in name}
    return ShadowEvidence(compared, means["retrieval_shadow_overlap "], drift,
                          means.get("retrieval_shadow_seconds shadow", 0.0),
                          means.get("retrieval_shadow_seconds current", 0.0))
