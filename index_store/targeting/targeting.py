"""Targeting: turns the predicates of all ads and that of one request into one bitmap of eligible positions.

A bitmap depends on its signature: the truth of every distinct predicate of the ads, and the request's own predicate.
Requests share few signatures, so bitmaps are kept in a bounded cache. Which ads are live changes far more often than
what a signature accepts: these bitmaps know nothing of it, and survive every change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureEncoder, Features
from index_store.targeting.ad_filter import AdFilter
from index_store.targeting.attributes import Attributes, request_attributes
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.targeting.predicate_program import PredicateProgram, compile_predicates
from index_store.targeting.predicates import Predicate, clauses_of, deciding_clause, parse_text, to_text
from index_store.tree.tree import Tree

MOST_MASKS = 32
"""Up to this many distinct predicates, the bitmap of each is kept and a signature is their union (0.06 ms for 16 of
them at 1 M ads); with more, one gather over all positions is faster and smaller (1.2 ms at 1 M ads)."""

MOST_COMBINED = 32
"""Bitmaps of signatures that are kept without the withdrawn ads too: at 1 M ads, one takes 56 µs to make and 0.9 µs to
find. They last until the next change, so there are fewer of them than of the signatures' own."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

NO_PREDICATE = 0
"""Number of an ad without a predicate: every user may see it."""


@dataclass(frozen=True)
class AdTargeting:
    """The predicates of a catalogue, numbered from 1; 0 means no predicate, which always holds.

    Attributes:
        of_position: (n_items,) int32 number of the predicate of the ad at each position.
        program: all of them compiled; root p is that of predicate p.
        text: (bytes,) uint8, the predicates as JSON, one after the other.
        text_ends: (P + 1,) int64 end of each text; entry 0 is 0.
    """

    of_position: NDArray[np.int32]
    program: PredicateProgram
    text: NDArray[np.uint8]
    text_ends: NDArray[np.int64]

    @classmethod
    def of(cls, encoder: FeatureEncoder, predicates: Sequence[Predicate],
           of_position: NDArray[np.int32]) -> AdTargeting:
        """Compiles distinct predicates; `of_position` numbers them from 1."""
        texts = [b"", *(to_text(predicate).encode() for predicate in predicates)]
        everyone = parse_text('{"all": []}', {})
        return cls(of_position, compile_predicates([everyone, *predicates], encoder),
                   np.frombuffer(b"".join(texts), np.uint8), np.cumsum([len(text) for text in texts], dtype=np.int64))

    def predicate(self, number: int, encoder: FeatureEncoder) -> Predicate:
        """An ad's predicate in canonical form."""
        text = self.text[self.text_ends[number - 1] : self.text_ends[number]]
        return parse_text(text.tobytes().decode(), encoder.spec.audience_kinds)

    def bitmap(self, truth: NDArray[np.bool_]) -> PositionBitmap:
        """Positions whose predicate holds, by the truth (P + 1,) bool of each predicate."""
        if len(truth) > MOST_MASKS:
            return PositionBitmap.of(truth.take(self.of_position, mode="clip"))
        found = ~PositionBitmap.full(len(self.of_position))
        for number in np.flatnonzero(truth):
            found |= self._masks[number]
        return found

    @cached_property
    def _masks(self) -> list[PositionBitmap]:
        return [PositionBitmap.of(self.of_position == number) for number in range(len(self.program.roots))]


class SignatureCache:
    """The most recently used bitmaps, at most `entries`. Threads may share it."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[bytes, PositionBitmap] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, make: Callable[[], PositionBitmap]) -> PositionBitmap:
        """The bitmap of a key, computed if it is not cached; two threads may both compute it."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)
        return made


@dataclass(frozen=True)
class _Combined:
    """The members of bitmaps of signatures that are live, by signature.

    Attributes:
        live: positions of the ads that no change withdraws, as of one change.
    """

    live: PositionBitmap
    cache: SignatureCache = field(default_factory=lambda: SignatureCache(MOST_COMBINED))


@dataclass(frozen=True)
class RequestTargeting:
    """The part of a request that targeting reads.

    Attributes:
        attributes: of user and context; the ads' predicates read them.
        predicate: the request's own predicate over ad fields; None if it has none.
    """

    attributes: Attributes = field(default_factory=dict)
    predicate: Predicate | None = None


@dataclass(frozen=True)
class Refusal:
    """Why targeting keeps an ad from a user.

    Attributes:
        by: whose predicate refuses.
        path: of the clause that decided, such as `targeting.all[1]`.
        clause: that clause.
    """

    by: Literal["ad", "request"]
    path: str
    clause: Predicate


class Targeting:
    """Finds the eligible positions of a request.

    Args:
        encoder, items, tree: of the bundle.
        ads: predicates of its ads; None if no ad has one.
        cache_entries: number of bitmaps to keep.

    Attributes:
        fields: names of the fields of users and context that the ads' predicates read.
        cache: the most recently used bitmaps.
    """

    def __init__(self, encoder: FeatureEncoder, items: Features, tree: Tree, ads: AdTargeting | None,
                 cache_entries: int = 256) -> None:
        self._encoder, self._items, self._tree, self._ads = encoder, items, tree, ads
        self._filter = AdFilter(encoder, items, tree)
        self.cache = SignatureCache(cache_entries)
        self._combined: _Combined | None = None
        self.fields: frozenset[str] = ads.program.fields if ads is not None else frozenset()

    def attributes(self, stored: Features | None, given: Mapping[str, Any] = _NOTHING,
                   context: Mapping[str, Any] = _NOTHING) -> Attributes:
        """The attributes that the ads' predicates read; arguments and errors as in `request_attributes`."""
        return request_attributes(self._encoder, self.fields, stored=stored, given=given, context=context)

    def eligible(self, request: RequestTargeting, excluded_rows: NDArray[np.integer] | None = None,
                 live: PositionBitmap | None = None) -> Eligible | None:
        """The positions that may be returned for a request; None for all.

        Args:
            request: with the attributes that `attributes` returned.
            excluded_rows: item rows in any order.
            live: positions of the ads that no change withdraws; None for all. Where the request's targeting accepts all
                ads, this is the bitmap of the result.
        """
        bitmap = self._bitmap(request, live)
        excluded = None if excluded_rows is None else self._tree.position_of_row[excluded_rows]
        if bitmap is None and (excluded is None or not len(excluded)):
            return None
        return Eligible.of(self._tree.n_items, bitmap, excluded)

    def refusal(self, row: int, request: RequestTargeting) -> Refusal | None:
        """Why an ad (by item row) may not be shown; None if targeting lets it pass."""
        encoder, position = self._encoder, int(self._tree.position_of_row[row])
        if self._ads is not None and (number := int(self._ads.of_position[position])) != NO_PREDICATE:
            predicate = self._ads.predicate(number, encoder)
            clauses = list(clauses_of(predicate))
            truth = compile_predicates(clauses, encoder).truth(request.attributes).tolist()
            holds, path, clause = deciding_clause(predicate, dict(zip(clauses, truth, strict=True)).__getitem__)
            if not holds:
                return Refusal("ad", path, clause)
        if request.predicate is not None:
            holds, path, clause = deciding_clause(request.predicate,
                                                  lambda clause: self._filter.holds(clause, position))
            if not holds:
                return Refusal("request", path, clause)
        return None

    def _bitmap(self, request: RequestTargeting, live: PositionBitmap | None) -> PositionBitmap | None:
        key, accepted = self._accepted(request)
        if accepted is None or accepted.total == accepted.n:
            return live
        return accepted if live is None else self._live(key, accepted, live)

    def _accepted(self, request: RequestTargeting) -> tuple[bytes, PositionBitmap | None]:
        """The signature of a request and its bitmap; None if nothing is targeted."""
        own = request.predicate
        sides: list[tuple[bytes, Callable[[], PositionBitmap]]] = []
        if (ads := self._ads) is not None:
            truth = ads.program.truth(request.attributes)
            sides.append((_key(b"ads", np.packbits(truth).tobytes()), lambda: ads.bitmap(truth)))
        if own is not None:
            sides.append((_key(b"request", to_text(own).encode()), lambda: self._filter.bitmap(own)))
        if len(sides) < 2:
            return (sides[0][0], self.cache.get(*sides[0])) if sides else (b"", None)
        (first, _), (second, _) = sides
        key = first + second
        return key, self.cache.get(key, lambda: self.cache.get(*sides[0]) & self.cache.get(*sides[1]))

    def _live(self, key: bytes, accepted: PositionBitmap, live: PositionBitmap) -> PositionBitmap:
        """The live members of a signature's bitmap; kept until a request comes with another `live`."""
        combined = self._combined
        if combined is None or combined.live is not live:
            combined = self._combined = _Combined(live)
        return combined.cache.get(key, lambda: accepted & live)


def _key(side: bytes, signature: bytes) -> bytes:
    """16 bytes for a signature of any length."""
    return blake2b(signature, digest_size=16, person=side).digest()
