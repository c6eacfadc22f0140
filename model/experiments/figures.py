"""Summaries of figures over seeds, and Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.experiments.cells import Done


@dataclass(frozen=True)
class Summary:
    """Mean over n seeds and their sample standard deviation, None for a single seed."""

    mean: float
    spread: float | None
    n: int

    def text(self, form: str = ".4f") -> str:
        """Like `0.6310 ± 0.0021`."""
        return f"{self.mean:{form}}" + (f" ± {self.spread:{form.lstrip('+')}}" if self.spread is not None else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summary(values: Sequence[float | None]) -> Summary | None:
    """Summary of the values of several seeds; None if one of them has no value."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return Summary(float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None, len(known))


def change_percent(values: Sequence[float | None], bases: Sequence[float | None]) -> Summary | None:
    """Summary of the changes in percent, seed by seed; None if a value is undefined, or a base is undefined or 0."""
    return summary([100 * (value / base - 1) if value is not None and base else None
                    for value, base in zip(values, bases, strict=True)])


def text(of: Summary | None, form: str = ".4f") -> str:
    """A summary as text, or a dash."""
    return of.text(form) if of is not None else "–"


def to_json(of: Summary | None) -> dict[str, Any] | None:
    """A summary as JSON, or None."""
    return of.to_json() if of is not None else None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def by_slug(done: Sequence[Done]) -> dict[str, list[Mapping[str, Any]]]:
    """Configuration -> its results, seed by seed."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for cell, result in done:
        grouped.setdefault(cell.slug, []).append(result)
    return grouped
