"""Matching of a new tree's codes to those of an earlier tree, and what has moved between the two.

A code keeps its number where the new node is the old one by its members: level by level, below each pair of matched
parents, the Hungarian method assigns new codes to old ones so that as many items as possible keep their number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def matched_codes(before: NDArray[np.int32], codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The codes with other numbers: the same tree, in which nodes have the numbers of those that they continue.

    Args:
        before: (n_items, levels) codes of the earlier tree, -1 for items that it lacked.
        codes: (n_items, levels) of the new one, unique within their parent.

    Returns:
        (n_items, levels) int32. A node that continues none gets the lowest number that is free below its parent.
    """
    found = np.empty_like(codes)
    _match(before, codes, found, np.arange(len(codes)), before[:, 0] >= 0, 0)
    return found


def _match(before: NDArray[np.int32], codes: NDArray[np.int32], found: NDArray[np.int32], members: NDArray[np.int64],
           stayed: NDArray[np.bool_], level: int) -> None:
    """Numbers the children of a new node, whose items are `members`, and everything below them.

    Args:
        stayed: (n_items,) which items were below the node that this one continues.
    """
    new, child = np.unique(codes[members, level], return_inverse=True)
    shared = stayed[members]
    old, old_child = np.unique(before[members[shared], level], return_inverse=True)
    common = np.zeros((len(new), len(old)), np.int64)
    np.add.at(common, (child[shared], old_child), 1)
    numbers = np.full(len(new), -1, np.int32)
    for row, column in zip(*linear_sum_assignment(common, maximize=True), strict=True):
        if common[row, column]:
            numbers[row] = old[column]
    free = np.setdiff1d(np.arange(len(new) + len(old), dtype=np.int32), np.union1d(numbers, old))
    numbers[numbers < 0] = free[:int((numbers < 0).sum())]
    found[members, level] = numbers[child]
    if level + 1 < codes.shape[1]:
        stays = stayed & (before[:, level] == found[:, level])
        for place in range(len(new)):
            _match(before, codes, found, members[child == place], stays, level + 1)


def changed_prefixes(before: NDArray[np.int32], codes: NDArray[np.int32]) -> list[float]:
    """Share of the items of both trees whose path to each level above the items has changed, coarse to fine.

    Args:
        before, codes: (n_items, levels), -1 for items that a tree lacks.
    """
    both = (before[:, 0] >= 0) & (codes[:, 0] >= 0)
    changed = np.logical_or.accumulate(before[both] != codes[both], axis=1)
    return [float(share) for share in changed.mean(axis=0)] if both.any() else [0.0] * codes.shape[1]
