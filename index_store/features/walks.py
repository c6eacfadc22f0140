"""Walks from sources to keys, and what they reach: the sums behind user keys and similar users.

An owner has sources (the ads of a history, say), and each source reaches keys with a weight. What an owner reaches is
added up by key: in C where the library is there (`index_store/compiled/keys.c`), else by a sort, equal up to
rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.compiled.library import library
from index_store.features.ragged import Ragged, expand_ranges, sorted_with_places

UNKNOWN_SOURCE = "a source is not among those that reach keys"


@dataclass(frozen=True)
class Walk:
    """The sources of B owners, and the keys that each source reaches.

    Attributes:
        bounds: (B + 1,) int64; the sources of owner b are [bounds[b], bounds[b + 1]).
        sources: (S,) integers, rows of `reach`.
        reach: source -> keys.
        of_keys: float32 weights >= 0, aligned with the keys of `reach`; None where sources have them.
        of_sources: (S,) float32 weights >= 0; None where keys have them.
        recencies: (S,) float32 >= 0; None for zeros.
        first: is added to each key.
    """

    bounds: NDArray[np.int64]
    sources: NDArray[np.integer]
    reach: Ragged
    of_keys: NDArray[np.float32] | None = None
    of_sources: NDArray[np.float32] | None = None
    recencies: NDArray[np.float32] | None = None
    first: int = 0


@dataclass(frozen=True)
class Reached:
    """The distinct keys that B owners reach by W walks; those of owner b by walk w are row b * W + w.

    Attributes:
        indptr: (B * W + 1,) int64.
        keys: (M,) int32, ascending within a row.
        matches: (M,) float32, how many sources reach the key.
        sums: (M,) float32, of their weights.
        squares: (M,) float32, of their squared weights.
        best: (M,) float32, the largest weight.
        recencies: (M,) float32, the largest recency.
    """

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    matches: NDArray[np.float32]
    sums: NDArray[np.float32]
    squares: NDArray[np.float32]
    best: NDArray[np.float32]
    recencies: NDArray[np.float32]


def reached(walks: Sequence[Walk], owners: int) -> Reached:
    """What B owners reach, each by all of the walks.

    Raises:
        IndexError: a source is not a row of its walk's `reach`.
    """
    functions = library().functions
    return reached_by_numpy(walks, owners) if functions is None else _compiled(functions, walks, owners)


def reached_by_numpy(walks: Sequence[Walk], owners: int) -> Reached:
    """`reached` without the library: sorts the hits of each walk."""
    parts = [_by_numpy(walk, owners) for walk in walks]
    lengths = np.zeros((owners, len(walks)), np.int64)
    for number, part in enumerate(parts):
        lengths[:, number] = np.diff(part.indptr)
    indptr = np.concatenate([[0], lengths.ravel().cumsum()])
    found = _room_for(indptr, int(indptr[-1]))
    for number, part in enumerate(parts):
        at = expand_ranges(indptr[:-1].reshape(lengths.shape)[:, number], lengths[:, number])
        for ours, own in zip(_columns(found)[1:], _columns(part)[1:], strict=True):
            ours[at] = own
    return found


def _by_numpy(walk: Walk, owners: int) -> Reached:
    """What owners reach by one walk."""
    rows, keys, weights, recencies = _hits(walk, owners)
    if not len(keys):
        return _room_for(np.zeros(owners + 1, np.int64), 0)
    width = int(keys.max()) + 1
    pairs, order = sorted_with_places(rows * width + keys)
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    weights, distinct = weights.take(order), pairs.take(starts)
    return Reached(np.searchsorted(distinct, np.arange(owners + 1) * width).astype(np.int64, copy=False),
                   (distinct % width).astype(np.int32), np.diff(starts, append=len(pairs)).astype(np.float32),
                   np.add.reduceat(weights, starts), np.add.reduceat(weights * weights, starts),
                   np.maximum.reduceat(weights, starts), np.maximum.reduceat(recencies.take(order), starts))


def _hits(walk: Walk, owners: int) -> tuple[NDArray[Any], ...]:
    """Owner, key, weight and recency of every hit of a walk, four arrays."""
    if walk.sources.min(initial=0) < 0:
        raise IndexError(UNKNOWN_SOURCE)
    starts = walk.reach.indptr.take(walk.sources)
    fans = walk.reach.indptr.take(walk.sources + 1) - starts
    at = expand_ranges(starts, fans)
    if walk.of_keys is not None:
        weights = walk.of_keys.take(at)
    else:
        assert walk.of_sources is not None
        weights = walk.of_sources.repeat(fans)
    recencies = np.zeros(len(at), np.float32) if walk.recencies is None else walk.recencies.repeat(fans)
    rows = np.arange(owners).repeat(np.diff(walk.bounds)).repeat(fans)
    return rows, walk.reach.values.take(at) + np.int64(walk.first), weights, recencies


def _columns(found: Reached) -> list[NDArray[Any]]:
    """Its arrays, in the order of their declaration."""
    return [found.indptr, found.keys, found.matches, found.sums, found.squares, found.best, found.recencies]


def _room_for(indptr: NDArray[np.int64], hits: int) -> Reached:
    """Arrays that are to be filled, with room for as many keys as there are hits."""
    return Reached(indptr, np.empty(hits, np.int32), *(np.empty(hits, np.float32) for _ in range(5)))


class _Walk(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in ("bounds", "sources", "of_sources", "recencies", "indptr", "keys",
                                                       "of_keys")),
                ("reached", ctypes.c_int64), ("first", ctypes.c_int64))


class _Sums(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ("indptr", "keys", "matches", "sums", "squares", "best",
                                                          "recencies"))


def _compiled(functions: ctypes.CDLL, walks: Sequence[Walk], owners: int) -> Reached:
    kept: list[NDArray[Any]] = []

    def at(values: NDArray[Any] | None, kind: type) -> int | None:
        """Address of an array, which lives as long as `kept`; `values.ctypes` takes three times as long."""
        if values is None:
            return None
        kept.append(np.ascontiguousarray(values, kind))
        address: int = kept[-1].__array_interface__["data"][0]
        return address

    given = (_Walk * len(walks))(*(
        _Walk(at(walk.bounds, np.int64), at(walk.sources, np.int64), at(walk.of_sources, np.float32),
              at(walk.recencies, np.float32), at(walk.reach.indptr, np.int64), at(walk.reach.values, np.int32),
              at(walk.of_keys, np.float32), len(walk.reach), walk.first) for walk in walks))
    size, most = (ctypes.c_int64(len(walks)), ctypes.c_int64(owners)), ctypes.c_int64()
    hits = functions.count_hits(given, *size, ctypes.byref(most))
    if hits < 0:
        raise IndexError(UNKNOWN_SOURCE)
    room = _room_for(np.empty(owners * len(walks) + 1, np.int64), hits)
    sums = _Sums(*(array.__array_interface__["data"][0] for array in _columns(room)))
    if functions.add_up(given, *size, most, ctypes.byref(sums)):
        raise MemoryError(f"no memory for the {most.value:,} keys that an owner reaches")
    end = int(room.indptr[-1])
    return Reached(room.indptr, room.keys[:end], room.matches[:end], room.sums[:end], room.squares[:end],
                   room.best[:end], room.recencies[:end])
