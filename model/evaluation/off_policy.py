"""Off-policy estimates: what a policy would have earned a place, from the log of another one.

A place is an ad that was shown. The answer is the unit of all intervals, since its ads were drawn together: estimates
are ratios of sums over answers, with the standard error of the delta method. Whether an ad is clicked is taken to
depend on user and ad alone, not on its place or on the ads beside it.

- IPS, inverse propensity scoring: rewards x (probability under the target policy / propensity), over the places
  (Horvitz and Thompson, A Generalization of Sampling Without Replacement, 1952).
- SNIPS, self-normalised: over the sum of these ratios instead; hardly biased, and of less variance.
- DR, doubly robust: what a model predicts for the target policy's own ads, and IPS of what the model got wrong (Dudík,
  Langford and Li, Doubly Robust Policy Evaluation and Learning, 2011).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.96
"""Of a normal distribution, 95 % are within so many standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its standard error and its interval of 95 %."""

    value: float
    standard_error: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """N ads that A answers showed.

    Attributes:
        answers: (N,) number of the answer of each, 0 to A - 1; every answer has one.
        propensities: (N,) above 0, the probability with which it was shown.
        rewards: (N,) what came of it.
    """

    answers: NDArray[np.int64]
    propensities: NDArray[np.float64]
    rewards: NDArray[np.float64]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums (A,) over the ads of each answer of values (N,)."""
        return np.bincount(self.answers, values).astype(np.float64)

    @property
    def places(self) -> NDArray[np.float64]:
        """Ads of each answer (A,)."""
        return self.sums(np.ones(len(self.answers)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """A policy to estimate, which shows as many ads in each answer as were shown.

    Attributes:
        probabilities: (N,) with which it would show each of the ads that were shown.
        predicted: (N,) rewards of these ads, by a model; None for no doubly robust estimate.
        expected: (A,) sum of the predicted rewards of its own ads, by answer; None likewise.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.float64] | None = None
    expected: NDArray[np.float64] | None = None


def ratio(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Estimate:
    """The ratio of two sums over independent answers (A,), by the delta method."""
    n, mean = len(numerators), denominators.mean()
    value = float(numerators.mean() / mean)
    off = (numerators - value * denominators) / mean
    error = float(np.sqrt((off**2).sum() / max(n - 1, 1) / n))
    return Estimate(value=value, standard_error=error, low=value - Z * error, high=value + Z * error)


def estimates(shown: Shown, target: Target) -> dict[str, Any]:
    """All estimates of a policy.

    Returns:
        `ips` and `snips`, `dr` if a model predicts; `support`, the mean ratio, which is 1 if every ad of the target
        policy could be shown, and less by the share that could not; `effective_ads`, as many as would say as much if
        their ratios were all the same (Kish).
    """
    ratios = target.probabilities / shown.propensities
    weighted, weights, places = shown.sums(ratios * shown.rewards), shown.sums(ratios), shown.places
    found: dict[str, Any] = {"ips": ratio(weighted, places).to_json()}
    if ratios.any():
        found["snips"] = ratio(weighted, weights).to_json()
    if target.predicted is not None and target.expected is not None:
        corrected = target.expected + shown.sums(ratios * (shown.rewards - target.predicted))
        found["dr"] = ratio(corrected, places).to_json()
    total, squares = float(ratios.sum()), float((ratios**2).sum())
    found |= {"support": ratio(weights, places).to_json(), "effective_ads": total**2 / squares if squares else 0.0}
    return found
