"""Who may see which ads: the predicates of all ads and the targeting of one request become one bitmap, which is kept.

A signature is what a bitmap depends on: the truth of every distinct predicate of the ads, and the request's own
predicate. Requests share few signatures, so their bitmaps live in a bounded cache.
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
from index_store.targeting.attributes import Facts, ad_facts, audience_facts, clause_holds
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.targeting.predicate_program import PredicateProgram, compile_predicates
from index_store.targeting.predicates import Predicate, deciding_clause, parse_text, to_text
from index_store.tree.tree import Tree

MOST_MASKS = 32
"""Up to so many distinct predicates each one's bitmap is kept, and a signature is their union (0.06 ms for 16 of
them at 1 M ads); with more, one gather over all positions is faster and smaller (1.2 ms at 1 M ads)."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

NO_PREDICATE = 0
"""Number of the predicate of ads that everyone may see."""


@dataclass(frozen=True)
class AdTargeting:
    """The predicates of a catalogue. Predicates are numbered from 1; 0 stands for none, which always holds.

    Attributes:
        of_position: (n_items,) int32 number of the predicate of the ad at each position.
        program: all of them compiled; root p is predicate p.
        text: (bytes,) uint8, the predicates as JSON one after the other.
        text_ends: (P + 1,) int64 where the text of each ends, from 0 for none.
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
        """A predicate as its advertiser wrote it, in canonical form."""
        text = self.text[self.text_ends[number - 1] : self.text_ends[number]]
        return parse_text(text.tobytes().decode(), encoder.spec.audience_kinds)

    def bitmap(self, truth: NDArray[np.bool_]) -> PositionBitmap:
        """Positions whose predicate holds: truth (P + 1,) bool by predicate."""
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
    """The bitmaps that were used last, at most `entries`. Threads may share it."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[bytes, PositionBitmap] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, make: Callable[[], PositionBitmap]) -> PositionBitmap:
        """The bitmap of a key, made if it is not kept; two threads may both make it."""
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
class Audience:
    """What targeting reads of one request.

    Attributes:
        facts: of user and context, about which the ads' predicates are asked.
        asked: the request's own predicate over ad fields.
    """

    facts: Facts = field(default_factory=dict)
    asked: Predicate | None = None


@dataclass(frozen=True)
class Refusal:
    """Why targeting keeps an ad from a user.

    Attributes:
        by: whose predicate says so.
        path: of the clause that decides, such as `targeting.all[1]`.
        clause: that clause.
    """

    by: Literal["ad", "request"]
    path: str
    clause: Predicate


class Targeting:
    """Finds the eligible positions of requests.

    Args:
        encoder, items, tree: of the bundle.
        ads: predicates of its ads; None if no ad has one.
        cache_entries: signatures whose bitmaps are kept.

    Attributes:
        fields: names of the fields of users and context that the ads' predicates read.
        cache: the bitmaps that were used last.
    """

    def __init__(self, encoder: FeatureEncoder, items: Features, tree: Tree, ads: AdTargeting | None,
                 cache_entries: int = 256) -> None:
        self._encoder, self._items, self._tree, self._ads = encoder, items, tree, ads
        self._filter = AdFilter(encoder, items, tree)
        self.cache = SignatureCache(cache_entries)
        self.fields: frozenset[str] = ads.program.fields if ads is not None else frozenset()

    def facts(self, stored: Features | None, given: Mapping[str, Any] = _NOTHING,
              context: Mapping[str, Any] = _NOTHING) -> Facts:
        """What the ads' predicates are asked about; arguments and errors as in `audience_facts`."""
        return audience_facts(self._encoder, self.fields, stored=stored, given=given, context=context)

    def eligible(self, audience: Audience, excluded_rows: NDArray[np.integer] | None = None) -> Eligible | None:
        """The positions that one request may be answered with; None for all.

        Args:
            audience: whose facts are those of `facts`.
            excluded_rows: item rows in any order.
        """
        bitmap = self._bitmap(audience)
        if bitmap is not None and bitmap.total == bitmap.n:
            bitmap = None
        excluded = None if excluded_rows is None else self._tree.position_of_row[excluded_rows]
        if bitmap is None and (excluded is None or not len(excluded)):
            return None
        return Eligible.of(self._tree.n_items, bitmap, excluded)

    def refusal(self, row: int, audience: Audience) -> Refusal | None:
        """Why an ad (by item row) may not be shown, None if targeting lets it pass."""
        encoder, asked = self._encoder, audience.asked
        number = NO_PREDICATE if self._ads is None else int(self._ads.of_position[self._tree.position_of_row[row]])
        if self._ads is not None and number != NO_PREDICATE:
            holds, path, clause = deciding_clause(self._ads.predicate(number, encoder),
                                                  lambda clause: clause_holds(encoder, "user", clause, audience.facts))
            if not holds:
                return Refusal("ad", path, clause)
        if asked is not None:
            of_ad = ad_facts(encoder, self._items, row)
            holds, path, clause = deciding_clause(asked, lambda clause: clause_holds(encoder, "item", clause, of_ad))
            if not holds:
                return Refusal("request", path, clause)
        return None

    def _bitmap(self, audience: Audience) -> PositionBitmap | None:
        asked = audience.asked
        sides: list[tuple[bytes, Callable[[], PositionBitmap]]] = []
        if (ads := self._ads) is not None:
            truth = ads.program.truth(audience.facts)
            sides.append((_key(b"ads", np.packbits(truth).tobytes()), lambda: ads.bitmap(truth)))
        if asked is not None:
            sides.append((_key(b"request", to_text(asked).encode()), lambda: self._filter.bitmap(asked)))
        if len(sides) < 2:
            return self.cache.get(*sides[0]) if sides else None
        (first, _), (second, _) = sides
        return self.cache.get(first + second, lambda: self.cache.get(*sides[0]) & self.cache.get(*sides[1]))


def _key(side: bytes, signature: bytes) -> bytes:
    """16 bytes for a signature of any length."""
    return blake2b(signature, digest_size=16, person=side).digest()
