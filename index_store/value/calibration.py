"""Calibration: from the logits of a task to log odds whose probabilities hold on events that trained nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Calibration:
    """A rising line through knots, continued beyond its ends with the slopes that it has there.

    Two knots are Platt's scaling; more are isotonic regression, joined from block to block, so that it never ties two
    logits that differ.

    Attributes:
        logits: (N,) float64, rising, of at least two knots.
        log_odds: (N,) float64, rising, what they become.

    Raises:
        ValueError: they are no such knots.
    """

    logits: NDArray[np.float64]
    log_odds: NDArray[np.float64]

    def __post_init__(self) -> None:
        both = np.stack([self.logits, self.log_odds])
        if both.shape[1] < 2 or not np.isfinite(both).all() or (np.diff(both) <= 0).any():
            raise ValueError(f"{both.T.tolist()} are not at least two knots that rise")

    @classmethod
    def line(cls, slope: float, intercept: float) -> Self:
        """Slope x logit + intercept."""
        return cls(np.array([0.0, 1.0]), np.array([intercept, intercept + slope]))

    def __call__(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log odds of logits, of any shape."""
        x, y = self.logits, self.log_odds
        if len(x) == 2:
            slope = (y[1] - y[0]) / (x[1] - x[0])
            return np.asarray(slope * (logits - x[0]) + y[0], np.float64)
        found: NDArray[np.float64] = np.interp(logits, x, y)
        for outside, end, next_to in ((np.minimum(logits - x[0], 0.0), 0, 1),
                                      (np.maximum(logits - x[-1], 0.0), -1, -2)):
            found += outside * ((y[next_to] - y[end]) / (x[next_to] - x[end]))
        return found

    def slope(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Derivative of the log odds, of the same shape."""
        at = np.searchsorted(self.logits, logits) - 1
        slopes: NDArray[np.float64] = np.diff(self.log_odds) / np.diff(self.logits)
        return slopes[np.clip(at, 0, len(slopes) - 1)]

    def to_json(self) -> dict[str, Any]:
        return {"logits": self.logits.tolist(), "log_odds": self.log_odds.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError if it is none."""
        return cls(np.array(data["logits"], np.float64), np.array(data["log_odds"], np.float64))


@dataclass(frozen=True)
class Calibrations:
    """One for each task, in their order."""

    of_task: tuple[Calibration, ...]

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of logits (C, tasks): the same shape."""
        return np.stack([sigmoid(calibration(logits[:, task])) for task, calibration in enumerate(self.of_task)],
                        axis=1)

    def probability(self, task: int, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of the logits (C, tasks) of one task: (C,)."""
        return sigmoid(self.of_task[task](logits[:, task]))


def sigmoid(log_odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of log odds, exact for rare events too."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0))), np.float64)
