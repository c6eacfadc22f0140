"""Which beam reaches an overlap, or fits into a time: by the curve that `model export` measured on users of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BeamPoint:
    """One beam of the curve.

    Attributes:
        beam_width: nodes kept at each level above the items.
        overlap: mean overlap with the exhaustive answer, from 0 to 1; None where nobody measured it.
        pairs: mean pairs scored a query.
    """

    beam_width: tuple[int, ...]
    overlap: float | None
    pairs: float = 0.0


@dataclass(frozen=True)
class BeamCurve:
    """Measured beams by rising cost, and the one that is used where a request asks for none."""

    points: tuple[BeamPoint, ...]
    default: BeamPoint

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]], default: Sequence[int], sizes: Sequence[int]) -> BeamCurve:
        """Reads `beam_curve` of evaluation.json.

        Args:
            entries: `beam_width` (one number a level, or one for all), `overlap`, `pairs`.
            default: beam widths of the manifest.
            sizes: nodes of each level above the items; a beam wider than its level keeps no more than that.

        Raises:
            KeyError, TypeError, ValueError: the entries are not of this form.
        """
        points = []
        for entry in entries:
            width = entry["beam_width"]
            widths = (width,) * len(default) if isinstance(width, int) else tuple(int(w) for w in width)
            if len(widths) != len(default) or any(w < 1 for w in widths):
                raise ValueError(f"beam_width is {width!r}, {len(default)} numbers from 1 were expected")
            points.append(BeamPoint(widths, float(entry["overlap"]), float(entry["pairs"])))
        points.sort(key=lambda point: point.pairs)
        alike = [point for point in points if _cut(point.beam_width, sizes) == _cut(default, sizes)]
        return cls(tuple(points), alike[0] if alike else BeamPoint(tuple(default), None))

    def for_overlap(self, target: float) -> BeamPoint:
        """The cheapest beam that reaches the target, interpolated between points; else the widest of the curve."""
        if not self.points:
            return self.default
        reached = next((n for n, point in enumerate(self.points) if _overlap(point) >= target), None)
        if reached is None:
            return self.points[-1]
        if reached == 0:
            return self.points[0]
        below, above = self.points[reached - 1], self.points[reached]
        share = (target - _overlap(below)) / (_overlap(above) - _overlap(below))
        widths = tuple(round(low + share * (high - low)) for low, high in
                       zip(below.beam_width, above.beam_width, strict=True))
        return BeamPoint(widths, target, below.pairs + share * (above.pairs - below.pairs))

    def for_pairs(self, affordable: float) -> BeamPoint:
        """The widest beam of the curve that takes no more pairs than these; the narrowest where none does."""
        if not self.points:
            return self.default
        return next((point for point in reversed(self.points) if point.pairs <= affordable), self.points[0])


def _cut(widths: Sequence[int], sizes: Sequence[int]) -> list[int]:
    return [min(width, size) for width, size in zip(widths, sizes, strict=True)]


def _overlap(point: BeamPoint) -> float:
    return point.overlap or 0.0
