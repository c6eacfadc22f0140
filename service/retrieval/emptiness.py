"""Emptiness: why a request gets no ad at all, in one word and, if its own targeting is to blame, a clause."""

from __future__ import annotations

from dataclasses import replace

from index_store.live.snapshot import Snapshot
from index_store.search.ranking import SearchResult
from index_store.targeting.targeting import RequestTargeting, Targeting
from service.contract.answer import Emptiness


def emptiness(targeting: Targeting, request: RequestTargeting, snapshot: Snapshot,
              found: SearchResult) -> Emptiness | None:
    """What took the ads of an answer; None if it has some, or a deadline cut the search short.

    Args:
        targeting: of the bundle.
        request: the part of the request that it reads.
        snapshot: that the request saw.
        found: the result of the search.
    """
    if len(found.rows) or found.narrowed:
        return None
    if found.eligible:
        return Emptiness("floor", None, found.eligible)
    ungated = replace(request, gate=None)

    def left(asked: RequestTargeting) -> int:
        fitting = targeting.eligible(asked, None, snapshot.changed)
        return snapshot.tree.n_items if fitting is None else fitting.total

    if left(ungated):
        return Emptiness("exclusions" if left(request) else "campaigns", None, left(ungated))
    narrowest = targeting.narrowest(ungated, snapshot.changed)
    return Emptiness("ads" if narrowest.refusal is None else "request", narrowest.refusal, narrowest.left)
