"""Targeting: turns the predicates of all ads and that of one request into one bitmap of eligible positions.

A bitmap depends on its signature: the truth of every distinct predicate of the ads, and the request's own predicate.
Requests share few signatures, so bitmaps are kept in a bounded cache. Predicates about places are no part of it, since
positions differ from request to request: their ads are added to the bitmap, in each request. Which ads are live changes
far more often than what a signature accepts: these bitmaps know nothing of it, and survive every change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.ragged import expand_ranges
from index_store.features.vocabulary import look_up
from index_store.targeting.ad_filter import AdFilter
from index_store.targeting.attributes import Attributes, request_attributes
from index_store.targeting.changed_ads import ChangedAds, LivePredicates
from index_store.targeting.eligibility import Eligible, Gate, PlacedMembers, PositionBitmap
from index_store.targeting.predicate_program import PredicateProgram, compile_predicates
from index_store.targeting.predicates import AllOf, Predicate, clauses_of, deciding_clause, parse_text, to_text
from index_store.targeting.signature_cache import SignatureCache
from index_store.tree.tree import Tree

MOST_MASKS = 32
"""Up to this many distinct predicates, the bitmap of each is kept and a signature is their union (0.06 ms for 16 of
them at 1 M ads); with more, one gather over all positions is faster and smaller (1.2 ms at 1 M ads)."""

MOST_COMBINED = 32
"""Signatures whose members are also kept as of the last change: at 1 M ads of which some are withdrawn, they take 56 µs
to make and 0.9 µs to find. They last until the next change, so there are fewer of them than of the signatures' own."""

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

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The number of each predicate by its canonical text."""
        text, ends = self.text.tobytes(), self.text_ends.tolist()
        return {text[first:end].decode(): number for number, (first, end) in enumerate(pairwise(ends), start=1)}

    def bitmap(self, truth: NDArray[np.bool_]) -> PositionBitmap:
        """Positions whose predicate holds, by the truth (P + 1,) bool of each predicate."""
        if len(truth) > MOST_MASKS:
            return PositionBitmap.of(truth.take(self.of_position, mode="clip"))
        found = ~PositionBitmap.full(len(self.of_position))
        for number in np.flatnonzero(truth):
            found |= self._masks[number]
        return found

    def near(self, truth: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Positions (N,) whose predicate reads a place and holds, by the truth (P + 1,) bool of each predicate."""
        numbers, starts, positions = self._by_place
        held = np.flatnonzero(truth[numbers])
        found: NDArray[np.int32] = positions[expand_ranges(starts[held], starts[held + 1] - starts[held])]
        return found

    @cached_property
    def _by_place(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Numbers (L,) of the predicates that read a place, where their positions start (L + 1,), and the positions."""
        numbers = np.flatnonzero(self.program.reads_place)
        positions = np.flatnonzero(self.program.reads_place.take(self.of_position)).astype(np.int32)
        positions = positions[np.argsort(self.of_position[positions], kind="stable")]
        of_positions = self.of_position[positions]
        starts = np.searchsorted(of_positions, np.append(numbers, len(self.program.roots)))
        return numbers, starts, positions

    @cached_property
    def _masks(self) -> list[PositionBitmap]:
        return [PositionBitmap.of(self.of_position == number) for number in range(len(self.program.roots))]


_Members = tuple[PositionBitmap | None, PlacedMembers | None]
"""Eligible positions of the tree, None for all of them, and eligible items beyond it, if there are any."""


class _Combined:
    """The members of signatures as of one state of the changes, by signature."""

    def __init__(self, changed: ChangedAds) -> None:
        self.changed = changed
        self.cache = SignatureCache[_Members](MOST_COMBINED)


@dataclass(frozen=True)
class RequestTargeting:
    """The part of a request that targeting reads.

    Attributes:
        attributes: of user and context; the ads' predicates read them.
        predicate: the request's own predicate over ad fields; None if it has none.
        gate: what campaigns hold back from it; None for nothing.
    """

    attributes: Attributes = field(default_factory=dict)
    predicate: Predicate | None = None
    gate: Gate | None = None


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


@dataclass(frozen=True)
class Narrowest:
    """What leaves the fewest ads.

    Attributes:
        refusal: the part of the request's predicate that does; None if it has none, or no ad accepts the user.
        left: number of ads that it leaves by itself, among those that may be shown and accept the user.
    """

    refusal: Refusal | None
    left: int


class Targeting:
    """Finds the eligible positions of a request.

    Args:
        encoder, items, tree: of the bundle.
        ads: predicates of its ads; None if no ad has one.
        cache_entries: number of bitmaps to keep.

    Attributes:
        unchanged: the state before any change.
        cache: the most recently used bitmaps.
    """

    def __init__(self, encoder: FeatureEncoder, items: Features, tree: Tree, ads: AdTargeting | None,
                 cache_entries: int = 256) -> None:
        self._encoder, self._items, self._tree, self._ads = encoder, items, tree, ads
        self._filter = AdFilter(encoder, items, tree.position_of_row, partial(look_up, encoder.item_ids))
        self.cache = SignatureCache[PositionBitmap](cache_entries)
        self.unchanged = ChangedAds(encoder=encoder)
        self._combined = _Combined(self.unchanged)

    def fields(self, changed: ChangedAds) -> frozenset[str]:
        """Names of the fields of users and context that the ads' predicates read."""
        own = self._ads.program.fields if self._ads is not None else frozenset[str]()
        return own | changed.live_predicates.fields if changed.live_predicates.parts else own

    def attributes(self, stored: Features | None, given: Mapping[str, Any] = _NOTHING,
                   context: Mapping[str, Any] = _NOTHING, changed: ChangedAds | None = None) -> Attributes:
        """The attributes that the ads' predicates read; other arguments and errors as in `request_attributes`."""
        fields = self.fields(changed or self.unchanged)
        return request_attributes(self._encoder, fields, stored=stored, given=given, context=context)

    def number(self, predicate: Predicate, live: LivePredicates) -> int:
        """The number of a predicate of the bundle or, if it has none like it, among those of changes."""
        own = None if self._ads is None else self._ads.numbers.get(to_text(predicate))
        return self._first_live + live.numbers[predicate] if own is None else own

    def number_at(self, position: int) -> int:
        """The number of the predicate that the bundle gives to the ad at a position of the tree."""
        return NO_PREDICATE if self._ads is None else int(self._ads.of_position[position])

    def knows(self, predicate: Predicate) -> bool:
        """Whether an ad of the bundle has such a predicate."""
        return self._ads is not None and to_text(predicate) in self._ads.numbers

    def eligible(self, request: RequestTargeting, excluded_rows: NDArray[np.integer] | None = None,
                 changed: ChangedAds | None = None) -> Eligible | None:
        """The positions that may be returned for a request; None for all.

        Args:
            request: with the attributes that `attributes` returned.
            excluded_rows: item rows in any order.
            changed: state of the changes; None for none. Where targeting accepts all ads of the tree, the bitmap of the
                result is that of the live ones.
        """
        bitmap, placed = self._members(request, changed or self.unchanged)
        passing = None if request.gate is None else request.gate.passing
        if passing is not None:
            bitmap = passing.in_tree if bitmap is None else bitmap & passing.in_tree
            placed = None if placed is None else placed.passed(passing.beyond)
        excluded = None if excluded_rows is None else self._positions(excluded_rows)
        if bitmap is None and placed is None and (excluded is None or not len(excluded)):
            return None
        return Eligible.of(self._tree.n_items, bitmap, excluded, placed)

    def refusal(self, row: int, request: RequestTargeting, changed: ChangedAds | None = None) -> Refusal | None:
        """Why an ad (by item row) may not be shown; None if targeting lets it pass."""
        encoder, changed = self._encoder, changed or self.unchanged
        position = int(self._positions(np.array([row]))[0])
        predicate = self.predicate_of(row, changed)
        if predicate is not None:
            clauses = list(clauses_of(predicate))
            truth = compile_predicates(clauses, encoder).truth(request.attributes).tolist()
            holds, path, clause = deciding_clause(predicate, dict(zip(clauses, truth, strict=True)).__getitem__)
            if not holds:
                return Refusal("ad", path, clause)
        if request.predicate is not None:
            beyond = position - self._tree.n_items
            holds, path, clause = deciding_clause(
                request.predicate, lambda clause: (self._filter.holds(clause, position) if beyond < 0
                                                   else changed.filter.holds(clause, beyond)))
            if not holds:
                return Refusal("request", path, clause)
        return None

    def predicate_of(self, row: int, changed: ChangedAds | None = None) -> Predicate | None:
        """The predicate of an ad (by item row) over users and context; None for everybody."""
        changed = changed or self.unchanged
        position = int(self._positions(np.array([row]))[0])
        number = changed.predicate_at(position)
        if number is None:
            number = self.number_at(position)
        if number == NO_PREDICATE:
            return None
        return (changed.live_predicates.predicate(number - self._first_live) if number >= self._first_live
                else self._own.predicate(number, self._encoder))

    def narrowest(self, request: RequestTargeting, changed: ChangedAds | None = None) -> Narrowest:
        """What leaves the fewest ads for a request, before its exclusions; looks at each part of an `all` by itself."""
        def left(predicate: Predicate | None) -> int:
            eligible = self.eligible(replace(request, predicate=predicate), None, changed)
            return self._tree.n_items if eligible is None else eligible.total

        asked, of_ads = request.predicate, left(None)
        if asked is None or not of_ads:
            return Narrowest(None, of_ads)
        parts = ([(f"targeting.all[{at}]", part) for at, part in enumerate(asked.parts)] if isinstance(asked, AllOf)
                 else [("targeting", asked)])
        found = [Narrowest(Refusal("request", path, part), left(part)) for path, part in parts]
        return min(found, key=lambda one: one.left, default=Narrowest(None, of_ads))

    @property
    def _own(self) -> AdTargeting:
        assert self._ads is not None
        return self._ads

    @property
    def _first_live(self) -> int:
        """The number of the first predicate that a change gave to an ad."""
        return 1 if self._ads is None else len(self._ads.program.roots)

    def _positions(self, rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Positions of item rows (N,); beyond the tree they are the same."""
        tree = self._tree
        return np.where(rows < tree.n_items, tree.position_of_row.take(rows, mode="clip"), rows)

    def _members(self, request: RequestTargeting, changed: ChangedAds) -> _Members:
        own = np.ones(1, np.bool_) if self._ads is None else self._ads.program.truth(request.attributes)
        key, accepted = self._accepted(request, own)
        near = self._near(request, own)
        if accepted is not None and len(near):
            accepted = accepted.replaced(near, np.ones(len(near), np.bool_))
        if accepted is not None and accepted.total == accepted.n:
            accepted = None
        if changed.added is None and not len(changed.retargeted) and (accepted is None or changed.live is None):
            return changed.live if accepted is None else accepted, None
        combined = self._combined
        if combined.changed is not changed:
            combined = self._combined = _Combined(changed)
        of_changes = changed.live_predicates.truth(request.attributes)

        def combine() -> _Members:
            return self._combine(request.predicate, np.concatenate([own, of_changes]), accepted, changed)

        return combine() if len(near) else combined.cache.get(key + np.packbits(of_changes).tobytes(), combine)

    def _combine(self, asked: Predicate | None, truth: NDArray[np.bool_], accepted: PositionBitmap | None,
                 changed: ChangedAds) -> _Members:
        """Puts changes on top of what the bundle's targeting accepts.

        Args:
            asked: the request's own predicate.
            truth: of all predicates of ads.
            accepted: positions that the bundle's targeting accepts; None for all.
            changed: state of the changes.
        """
        bitmap = accepted
        if len(changed.retargeted):
            holds = truth.take(changed.predicates)
            if asked is not None:
                holds &= self._asked(asked).contains(changed.retargeted)
            if bitmap is not None or not holds.all():
                bitmap = bitmap or PositionBitmap.full(self._tree.n_items)
                bitmap = bitmap.replaced(changed.retargeted, holds)
        if bitmap is None:
            bitmap = changed.live
        elif changed.live is not None:
            bitmap &= changed.live
        if changed.added is None:
            return bitmap, None
        fits = changed.added.live & truth.take(changed.added.predicates)
        if asked is not None and fits.any():
            fits &= changed.filter.bitmap(asked).contains(np.arange(len(fits)))
        members = np.flatnonzero(fits)
        return bitmap, PlacedMembers(changed.added.placed, members) if len(members) else None

    def _accepted(self, request: RequestTargeting, truth: NDArray[np.bool_]) -> tuple[bytes, PositionBitmap | None]:
        """The signature of a request and the bitmap of the bundle's ads that fit it; None if nothing is targeted.

        Ads whose predicates read a place are left out.
        """
        asked, ads = request.predicate, self._ads
        if ads is not None:
            truth = truth & ~ads.program.reads_place
        key = b"" if ads is None else _key(b"ads", np.packbits(truth).tobytes())
        of_ads = None if ads is None else self.cache.get(key, lambda: ads.bitmap(truth))
        if asked is None:
            return key, of_ads
        if of_ads is None:
            return _asked_key(asked), self._asked(asked)
        key += _asked_key(asked)
        return key, self.cache.get(key, lambda: of_ads & self._asked(asked))

    def _near(self, request: RequestTargeting, truth: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Positions (N,) of the bundle's ads that fit a request and whose predicate reads a place."""
        if self._ads is None or not self._ads.program.near.fields:
            return np.empty(0, np.int32)
        near = self._ads.near(truth)
        return near if request.predicate is None else near[self._asked(request.predicate).contains(near)]

    def _asked(self, predicate: Predicate) -> PositionBitmap:
        """The ads of the bundle that a request's own predicate accepts."""
        return self.cache.get(_asked_key(predicate), lambda: self._filter.bitmap(predicate))


def _asked_key(predicate: Predicate) -> bytes:
    return _key(b"request", to_text(predicate).encode())


def _key(side: bytes, signature: bytes) -> bytes:
    """16 bytes for a signature of any length."""
    return blake2b(signature, digest_size=16, person=side).digest()
