"""The beam curve that `model export` measured: which beam reaches a given overlap, or fits a given budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Beam:
    """A beam to search with.

    Attributes:
        beam_width: nodes kept at each level above the items.
        overlap: mean overlap with the exhaustive answer, from 0 to 1; None if it was not measured.
    """

    beam_width: tuple[int, ...]
    overlap: float | None


@dataclass(frozen=True)
class BeamPoint(Beam):
    """A measured beam, a point of the curve.

    Attributes:
        pairs: mean pairs scored per query.
    """

    overlap: float
    pairs: float


@dataclass(frozen=True)
class BeamCurve:
    """Measured beams by rising cost, and the default for a request that asks for no beam."""

    points: tuple[BeamPoint, ...]
    default: Beam

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]], default: Sequence[int], sizes: Sequence[int]) -> BeamCurve:
        """Reads `beam_curve` of evaluation.json.

        Args:
            entries: `beam_width` (one number per level, or one for all), `overlap`, `pairs`.
            default: beam widths of the manifest.
            sizes: nodes of each level above the items, the most that a beam can keep there.

        Raises:
            KeyError, TypeError, ValueError: the entries have another form.
        """
        points = []
        for entry in entries:
            width = entry["beam_width"]
            widths = (width,) * len(default) if isinstance(width, int) else tuple(int(w) for w in width)
            if len(widths) != len(default) or any(w < 1 for w in widths):
                raise ValueError(f"beam_width is {width!r}, {len(default)} numbers of at least 1 were expected")
            points.append(BeamPoint(widths, float(entry["overlap"]), float(entry["pairs"])))
        points.sort(key=lambda point: point.pairs)
        alike = [point for point in points if _cut(point.beam_width, sizes) == _cut(default, sizes)]
        return cls(tuple(points), alike[0] if alike else Beam(tuple(default), None))

    def for_overlap(self, target: float) -> Beam:
        """The cheapest beam that reaches the target, interpolated between points; the widest one if none does."""
        if not self.points:
            return self.default
        reached = next((n for n, point in enumerate(self.points) if point.overlap >= target), None)
        if reached is None:
            return self.points[-1]
        if reached == 0:
            return self.points[0]
        below, above = self.points[reached - 1], self.points[reached]
        share = (target - below.overlap) / (above.overlap - below.overlap)
        widths = tuple(round(low + share * (high - low)) for low, high in
                       zip(below.beam_width, above.beam_width, strict=True))
        return BeamPoint(widths, target, below.pairs + share * (above.pairs - below.pairs))

    def for_pairs(self, affordable: float) -> Beam:
        """The widest beam that takes at most this many pairs; the narrowest one if none does."""
        if not self.points:
            return self.default
        return next((point for point in reversed(self.points) if point.pairs <= affordable), self.points[0])


def _cut(widths: Sequence[int], sizes: Sequence[int]) -> list[int]:
    return [min(width, size) for width, size in zip(widths, sizes, strict=True)]
