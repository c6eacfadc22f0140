"""Balance of a tree: how evenly the items are spread over the nodes of each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index_store.tree.tree import Tree


@dataclass(frozen=True)
class LevelHealth:
    """Balance of the hard assignment of one level.

    Attributes:
        entropy: of the items over the nodes, divided by that of an even assignment; 1 is perfectly even.
        largest: members of the largest node over the mean.
        empty: codes of the level that hold no item.
    """

    level: int
    nodes: int
    entropy: float
    largest: float
    empty: int


def health(tree: Tree, branching: Sequence[int]) -> list[LevelHealth]:
    """Hard-assignment health of every level above the items."""
    report, planned = [], 1
    for level, children in enumerate(branching, start=1):
        planned *= children
        members = np.diff(tree.offsets[level - 1]).astype(np.float64)
        share = members / members.sum()
        entropy = -(share * np.log(share)).sum() / math.log(len(share)) if len(share) > 1 else 1.0
        report.append(LevelHealth(level, len(members), float(entropy), float(members.max() / members.mean()),
                                  max(0, planned - len(members))))
    return report


def health_table(report: Sequence[LevelHealth]) -> str:
    """The report as lines of text."""
    lines = ["level    nodes  usage entropy  largest/mean  empty"]
    lines += [f"{r.level:5d} {r.nodes:8d} {r.entropy:14.4f} {r.largest:13.2f} {r.empty:6d}" for r in report]
    return "\n".join(lines)
