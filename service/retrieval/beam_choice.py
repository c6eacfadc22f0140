"""Beam choice: the width that a request gives, one from the bundle's curve, or the bundle's default."""

from __future__ import annotations

from dataclasses import replace

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.search.beam_curve import Beam, BeamCurve
from index_store.search.beam_search import widening
from index_store.search.moving_average import MovingAverage
from index_store.search.search_time import SearchTime
from index_store.targeting.eligibility import Eligible
from service.contract.query import Query

ECPM_OVERLAP = 0.95
"""That a search by eCPM is to reach if its request says nothing, by the curve measured with the bundle's bids."""

_NEWEST = 0.05
"""Weight of the newest request in the average time that requests spend outside of their search."""


class BeamChoice:
    """Chooses beams for one bundle, and learns from finished searches what fits into `budget_ms`.

    Raises:
        BundleError: the bundle's curve is malformed.
    """

    def __init__(self, opened: Bundle) -> None:
        self._tree, self._curve = opened.content.tree, read_curve(opened)
        self._by_ecpm = read_curve(opened, "ecpm_curve")
        if self._by_ecpm.points:
            self._by_ecpm = replace(self._by_ecpm, default=self._by_ecpm.for_overlap(ECPM_OVERLAP))
        self._search_time, self._overhead = SearchTime(), MovingAverage(_NEWEST, start=0.0)

    def of(self, query: Query, eligible: Eligible | None) -> Beam:
        """The beam of a query, and its overlap by the curve, which was measured without targeting.

        Args:
            query: what it asks for.
            eligible: ads that targeting and exclusions leave, which widen a beam; None for all.
        """
        curve = self._by_ecpm if query.by_ecpm else self._curve
        if query.exact:
            return Beam(curve.default.beam_width, 1.0)
        if query.beam_width is not None:
            return Beam(query.beam_width, None)
        if query.target_overlap is not None:
            return curve.for_overlap(query.target_overlap)
        if query.budget_ms is not None:
            affordable = self._search_time.pairs_within(query.budget_ms / 1000 - self._overhead.mean)
            return curve.for_pairs(affordable / widening(self._tree, eligible))
        return curve.default

    def observe_search(self, pairs: int, seconds: float) -> None:
        """Adds the time of a finished search of `pairs` pairs to the fit; thread-safe."""
        if pairs:
            self._search_time.observe(pairs, seconds)

    def observe_overhead(self, seconds: float) -> None:
        """Adds the time that a request spent outside of search and queue to the average; called in the event loop."""
        self._overhead.observe(seconds)


def read_curve(opened: Bundle, name: str = "beam_curve") -> BeamCurve:
    """A curve of a bundle, by its name in evaluation.json, without points where none was measured.

    Raises:
        BundleError: evaluation.json has something else in its place.
    """
    evaluation = opened.files.json(layout.EVALUATION)
    entries = evaluation.get(name, []) if isinstance(evaluation, dict) else []
    try:
        return BeamCurve.of(entries, opened.manifest.search.beam_width,
                            [level.nodes for level in opened.manifest.levels[:-1]])
    except (KeyError, TypeError, ValueError) as error:
        raise opened.files.error(layout.EVALUATION, f"has a malformed {name} ({error!r})") from error
