"""Reports of an epoch, to the run's log and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model.training.normalized_entropy import NormalizedEntropy

REPORT_BATCHES = 50
"""Batches between two reports."""


class EpochReport:
    """Collects losses and entropy of an epoch.

    Losses are told apart by part, since their sum rises when a part joins and would look like a divergence.

    Args:
        epoch: from 0.
        tasks: their names.
        log: receives the reports.
    """

    def __init__(self, epoch: int, tasks: Sequence[str], log: Callable[[Mapping[str, Any]], None]) -> None:
        self.epoch, self.tasks, self.log = epoch, tasks, log
        self.entropy = NormalizedEntropy(len(tasks))
        self.losses: list[Mapping[str, float]] = []

    def recent(self, batch: int, figures: Mapping[str, Any]) -> dict[str, str]:
        """Reports the batches since the last report.

        Args:
            batch: within the epoch.
            figures: to report as well.

        Returns:
            The report as text.
        """
        return self._write(batch, self.losses[-REPORT_BATCHES:], figures)

    def whole(self, batches: int, figures: Mapping[str, Any]) -> dict[str, str]:
        """Reports the epoch; arguments and result as for `recent`."""
        return self._write(batches, self.losses, figures)

    def _write(self, batch: int, losses: Sequence[Mapping[str, float]], figures: Mapping[str, Any]) -> dict[str, str]:
        report: dict[str, Any] = {"epoch": self.epoch + 1, "batch": batch}
        for part in dict.fromkeys(name for loss in losses for name in loss):
            report[f"loss_{part}"] = float(np.mean([loss[part] for loss in losses if part in loss]))
        report |= figures
        if self.entropy.samples:
            report |= {f"ne_{task}": value for task, value in zip(self.tasks, self.entropy.values(), strict=True)}
        self.log(report)
        return {name: _text(value) for name, value in report.items()}


def _text(value: float | None) -> str:
    """A figure as text; None, the entropy of equal labels, as well."""
    if value is None:
        return "undefined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
