"""The HILL tree as flat arrays: every node is an interval of item positions, and its children are contiguous.

Level 1 is the coarsest; the last level holds the items; the root has no level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import expand_ranges


class Vectors(Protocol):
    """Vectors (n_items, D) by item row: an array, or whatever computes those that are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.integer], /) -> NDArray[np.float32]: ...


class TreeError(ValueError):
    """The arrays do not form a tree; the message names the array and level."""


@dataclass(frozen=True)
class Tree:
    """A tree over n_items items with `depth` levels.

    Attributes:
        rows: (n_items,) int32, the item row at each position (a permutation).
        offsets: one (n_nodes + 1,) int32 per level above the items, coarse to fine; node j covers the positions
            `[offsets[j], offsets[j + 1])`.
        representatives: one (n_nodes,) int32 per level above the items: the position of the member nearest to the node
            (Algorithm 1, lines 12-17).

    Raises:
        TreeError: the arrays do not fit each other.
    """

    rows: NDArray[np.int32]
    offsets: tuple[NDArray[np.int32], ...]
    representatives: tuple[NDArray[np.int32], ...]

    def __post_init__(self) -> None:
        n = len(self.rows)
        if not n:
            raise TreeError("the tree holds no items; build it over at least one")
        if not _is_permutation(self.rows):
            raise TreeError(f"rows is not a permutation of 0..{n - 1}")
        if len(self.offsets) != len(self.representatives):
            raise TreeError(f"{len(self.offsets)} levels have offsets, {len(self.representatives)} have "
                            "representatives")
        coarser = np.array([0, n], np.int32)
        for level, (offsets, reps) in enumerate(zip(self.offsets, self.representatives, strict=True), start=1):
            if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) <= 0).any():
                raise TreeError(f"offsets of level {level} do not rise from 0 to the {n} items")
            if (offsets[np.searchsorted(offsets, coarser)] != coarser).any():
                raise TreeError(f"a node of level {level} lies in two nodes of the level above")
            if len(reps) != len(offsets) - 1 or (reps < offsets[:-1]).any() or (reps >= offsets[1:]).any():
                raise TreeError(f"a representative of level {level} is not a member of its node")
            coarser = offsets

    @property
    def depth(self) -> int:
        """Number of levels, including the items'."""
        return len(self.offsets) + 1

    @property
    def n_items(self) -> int:
        return len(self.rows)

    def size(self, level: int) -> int:
        """Number of nodes of a level."""
        return self.n_items if level == self.depth else len(self.offsets[level - 1]) - 1

    @cached_property
    def above_leaves(self) -> tuple[NDArray[np.int32], ...]:
        """For each level above the items, coarse to fine: (leaves,) int32, its node above each leaf node."""
        firsts = [np.searchsorted(self.offsets[-1], offsets) for offsets in self.offsets]
        return tuple(np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first)) for first in firsts)

    @cached_property
    def position_of_row(self) -> NDArray[np.int32]:
        """(n_items,) int32, the inverse of `rows`."""
        inverse = np.empty(self.n_items, np.int32)
        inverse[self.rows] = np.arange(self.n_items, dtype=np.int32)
        return inverse

    @cached_property
    def digest(self) -> str:
        """64 hex digits that identify the nodes and the items below them, on any machine.

        Representatives are left out: they do not change what a node holds.
        """
        found = sha256()
        for array in (self.rows, *self.offsets):
            found.update(len(array).to_bytes(8, "little"))
            found.update(np.ascontiguousarray(array, "<i4").data)
        return found.hexdigest()

    @cached_property
    def _children(self) -> tuple[NDArray[np.int64], ...]:
        """For each level above the items: (n_nodes + 1,) first child of each node in the level below."""
        finer: list[NDArray[np.integer]] = [*self.offsets[1:], np.arange(self.n_items + 1)]
        return tuple(np.searchsorted(below, own) for own, below in zip(self.offsets, finer, strict=True))

    def children(self, level: int, nodes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Children of the given nodes of `level`, in the order of the nodes."""
        first = self._children[level - 1]
        starts = first.take(nodes)
        return expand_ranges(starts, first.take(nodes + 1) - starts)

    def child_counts(self, level: int, nodes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Number of children of each of the nodes (C,) of `level`."""
        first = self._children[level - 1]
        counts: NDArray[np.int64] = first.take(nodes + 1) - first.take(nodes)
        return counts

    def items_below(self, level: int, nodes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Number of items of each of the nodes (C,) of `level`."""
        first, end = self.bounds(level, nodes)
        return (end - first).astype(np.int64)

    def bounds(self, level: int, nodes: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """First position and end of the interval of each node: ((C,), (C,))."""
        if level == self.depth:
            return nodes, nodes + 1
        return self.offsets[level - 1].take(nodes), self.offsets[level - 1].take(nodes + 1)

    def node_at(self, level: int, position: int) -> int:
        """The node of `level` that holds a position."""
        if level == self.depth:
            return position
        return int(np.searchsorted(self.offsets[level - 1], position, side="right")) - 1

    def ancestors(self, level: int, nodes: NDArray[np.integer], above: int) -> NDArray[np.int64]:
        """The node of the coarser level `above` that holds each of the nodes (C,) of `level`: (C,)."""
        first = self.bounds(level, nodes)[0]
        return np.searchsorted(self.offsets[above - 1], first, side="right") - 1

    def node_of_position(self, level: int) -> NDArray[np.int32]:
        """(n_items,) int32, the node of `level` that holds each position."""
        if level == self.depth:
            return np.arange(self.n_items, dtype=np.int32)
        return np.repeat(np.arange(self.size(level), dtype=np.int32), np.diff(self.offsets[level - 1]))


def build_tree(codes: NDArray[np.integer], embeddings: Vectors,
               centres: Sequence[NDArray[np.float32]] | None = None) -> Tree:
    """Builds the tree of code prefixes: a node of level l is a distinct prefix of l codes; none is empty.

    Args:
        codes: (n_items, depth - 1) code of each item row at each level above the items.
        embeddings: (n_items, D) float32 item embeddings by row, of which a block of items is read at a time; a node's
            representative is its member nearest to the node.
        centres: for each level above the items, the (n_items, D) embedding of each item's node; None for the mean of
            the members.

    Raises:
        TreeError: there are no items or the shapes differ.
    """
    if len(codes) != len(embeddings) or codes.ndim != 2:
        raise TreeError(f"codes have shape {codes.shape}, and there are {len(embeddings)} embeddings; give both one "
                        "row per item")
    n, inner = codes.shape
    rows = np.lexsort(codes.T[::-1]) if inner else np.arange(n)
    ordered, changed = codes[rows], np.zeros(n, bool)
    offsets = []
    for level in range(inner):
        changed[1:] |= ordered[1:, level] != ordered[:-1, level]
        offsets.append(np.concatenate([[0], np.flatnonzero(changed), [n]]).astype(np.int32))
    representatives = [np.empty(len(bounds) - 1, np.int32) for bounds in offsets]
    for first, own, levels in node_blocks(rows, offsets):
        vectors = embeddings[own]
        for level, (nodes, bounds) in enumerate(levels):
            centre = None if centres is None else centres[level][own]
            representatives[level][nodes] = first + _nearest(vectors, bounds, centre)
    return Tree(rows.astype(np.int32), tuple(offsets), tuple(representatives))


def _nearest(vectors: NDArray[np.float32], bounds: NDArray[np.integer],
             centres: NDArray[np.float32] | None) -> NDArray[np.int64]:
    """Place among the members (m, D) of nodes with bounds (N + 1,) of the one nearest to each node: (N,)."""
    node = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    distance = ((vectors - (segment_means(vectors, bounds)[node] if centres is None else centres)) ** 2).sum(1)
    nearest: NDArray[np.int64] = np.lexsort((distance, node))[bounds[:-1]]
    return nearest


def node_blocks(rows: NDArray[np.integer], offsets: Sequence[NDArray[np.int32]], most: int = 1 << 18
                ) -> Iterator[tuple[int, NDArray[np.integer], list[tuple[slice, NDArray[np.int32]]]]]:
    """Cuts a tree into blocks of nodes of its first level with all below them, to look at few items at a time.

    Args:
        rows, offsets: of the tree.
        most: items of a block, unless a single node of the first level has more.

    Yields:
        The first position of a block, the rows of its items, and for each level the nodes that it holds and their
        bounds within the block.
    """
    first = 0
    while offsets and first < len(rows):
        top = offsets[0]
        end = int(top[np.searchsorted(top, first + most, side="right") - 1])
        if end <= first:
            end = int(top[np.searchsorted(top, first, side="right")])
        nodes = [slice(*np.searchsorted(bounds, (first, end))) for bounds in offsets]
        yield first, rows[first:end], [(own, bounds[own.start:own.stop + 1] - first)
                                       for own, bounds in zip(nodes, offsets, strict=True)]
        first = end


def segment_means(values: NDArray[np.float32], offsets: NDArray[np.integer]) -> NDArray[np.float32]:
    """Mean over each interval: values (n_items, D) in tree order, offsets (N + 1,) -> (N, D) float32."""
    sums = np.add.reduceat(values, offsets[:-1], axis=0, dtype=np.float64)
    return (sums / np.diff(offsets)[:, None]).astype(np.float32)


def _is_permutation(rows: NDArray[np.int32]) -> bool:
    """Whether each of 0..n-1 occurs once.

    `np.unique` would hold the interpreter's lock for half a second over a million rows, while another bundle serves.
    """
    n = len(rows)
    if rows.min() < 0 or rows.max() >= n:
        return False
    seen = np.zeros(n, bool)
    seen[rows] = True
    return bool(seen.all())
