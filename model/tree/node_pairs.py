"""Node pairs, of a user and an index node, for test-time training (Section 3.6).

A user is paired with a node if interested in enough of its children. Levels are climbed from the leaf nodes, directly
above the items; the root has no level here and is never used. `node_pair_loss` trains MoNN with the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree
from model.config.errors import ConfigError

FEWEST_CHILDREN = 2
"""A node with one child has phi 1 if the child is interesting, and would only copy the child's pair."""

InterestName = Literal["history", "beam", "union"]
Carried = Literal["passed", "touched"]


@dataclass(frozen=True)
class Interest:
    """The interests of N users, Int of Equation 8. At least one of the two attributes is given.

    Attributes:
        history: user -> item rows, the positives of the train events (never of the test events).
        kept: for each level, coarse to fine, user -> nodes that a beam kept; of the items, positions.
    """

    history: Ragged | None
    kept: Sequence[Ragged] = ()

    @classmethod
    def of(cls, name: InterestName, history: Ragged | None, kept: Sequence[Ragged] = ()) -> Interest:
        """The interests of the given kind.

        Raises:
            ConfigError: it needs beams, and there are none.
        """
        if name != "history" and not kept:
            raise ConfigError(f"the interest is {name}, but no recorded beams were given; give some, or use history")
        return cls(None if name == "beam" else history, () if name == "history" else tuple(kept))


@dataclass(frozen=True)
class IndexPairs:
    """The node pairs of one level.

    Attributes:
        level: of the tree, 1 is the coarsest.
        users: (P,) int64, ascending.
        nodes: (P,) int64, ascending within a user.
        touched: user -> all nodes of the level that a beam kept or that have an interesting child: never negatives.
    """

    level: int
    users: NDArray[np.int64]
    nodes: NDArray[np.int64]
    touched: Ragged

    def __len__(self) -> int:
        return len(self.users)


def check_phi(tree: Tree, phi: Sequence[float]) -> None:
    """Refuses thresholds that do not fit the tree, or that are not shares.

    Args:
        tree: whose nodes are to be paired.
        phi: phi_IR of each level, from the leaf nodes upwards; their number is phi_DEP.

    Raises:
        ConfigError: there are none or more than levels above the items, or one is outside (0, 1].
    """
    # A level of one node is the root by another name.
    levels = sum(tree.size(level) > 1 for level in range(1, tree.depth))
    if not phi:
        raise ConfigError("phi has no threshold; give one for each level to climb, such as 0.8,0.4")
    if len(phi) > levels:
        raise ConfigError(f"phi has {len(phi)} thresholds ({', '.join(map(str, phi))}), but the tree has {levels} "
                          f"levels between items and root; give at most {levels}")
    for step, threshold in enumerate(phi, start=1):
        if not 0 < threshold <= 1:
            raise ConfigError(f"phi is {threshold} at level {step} above the items; give a share in (0, 1], for it "
                              "is a share of a node's children")


def index_pairs(tree: Tree, interest: Interest, phi: Sequence[float], carried: Carried = "passed") -> list[IndexPairs]:
    """The node pairs whose user is interested in most of the node's children.

    `phi_IR(u, i) = |Int(u, n - 1) ∩ Child(i)| / |Child(i)|` (Equation 8); a pair needs the threshold of its level and
    at least FEWEST_CHILDREN children. A node with one child makes no pair but hands its interest on. Interest in nodes
    is that of the recorded beam where there is one, and what follows from the level below where there is a history.

    Args:
        tree: the index.
        interest: of N users.
        phi: thresholds from the leaf nodes upwards, each in (0, 1].
        carried: nodes that count as interesting for the level above: those that `passed` their threshold, or all with
            an interesting child (`touched`).

    Returns:
        The pairs of each level, in the order of `phi`.

    Raises:
        ConfigError: see `check_phi`; or a beam is of another tree, or of other users than the history.
    """
    check_phi(tree, phi)
    n = _check_interest(tree, interest)
    found: list[IndexPairs] = []
    interested: NDArray[np.integer] = np.empty(0, np.int64)  # user * nodes of the level + node, ascending
    if interest.history is not None:
        rows = interest.history
        interested = np.unique(_owners(rows) * tree.n_items + tree.position_of_row[rows.values])
    interested = _with_kept(interested, tree, interest, tree.depth)
    for level, threshold in zip(range(tree.depth - 1, 0, -1), phi, strict=False):
        size = tree.size(level)
        users, children = np.divmod(interested, tree.size(level + 1))
        touched, counts = np.unique(users * size + parents(tree, level)[children], return_counts=True)
        all_children = tree.child_counts(level, touched % size)
        passed = counts / all_children >= threshold
        pairs = touched[passed & (all_children >= FEWEST_CHILDREN)]
        all_touched = _with_kept(touched, tree, interest, level)
        found.append(IndexPairs(level, *np.divmod(pairs, size), _lists(all_touched, n, size)))
        up = touched if carried == "touched" else touched[passed]
        interested = _with_kept(up if interest.history is not None else up[:0], tree, interest, level)
    return found


def random_pairs(tree: Tree, pairs: IndexPairs, rng: np.random.Generator) -> IndexPairs:
    """The control: as many distinct nodes of the level for each user, drawn uniformly from those that could be paired.

    Args:
        tree: the index.
        pairs: the real ones.
        rng: draws.
    """
    size = tree.size(pairs.level)
    fit = np.flatnonzero(tree.child_counts(pairs.level, np.arange(size)) >= FEWEST_CHILDREN)
    drawn, missing = np.empty(0, np.int64), pairs.users
    # A node that its user has already is drawn again, until every user has as many as before.
    while len(missing):
        drawn = np.unique(np.concatenate([drawn, missing * size + rng.choice(fit, len(missing))]))
        n = int(pairs.users[-1]) + 1
        lacking = np.bincount(pairs.users, minlength=n) - np.bincount(drawn // size, minlength=n)
        missing = np.repeat(np.arange(n), lacking)
    return IndexPairs(pairs.level, *np.divmod(drawn, size), pairs.touched)


def parents(tree: Tree, level: int) -> NDArray[np.int32]:
    """(nodes of level + 1,) int32: the node of `level` above each of them."""
    first, _ = tree.bounds(level + 1, np.arange(tree.size(level + 1)))
    above: NDArray[np.int32] = tree.node_of_position(level)[first]
    return above


def _check_interest(tree: Tree, interest: Interest) -> int:
    """The number of users, after a check that all parts are of the same users and of this tree."""
    parts = [*([interest.history] if interest.history is not None else []), *interest.kept]
    if len({len(part) for part in parts}) != 1:
        raise ConfigError(f"histories and beams are of {', '.join(str(len(part)) for part in parts)} users; give all "
                          "of the same")
    if interest.kept and len(interest.kept) != tree.depth:
        raise ConfigError(f"the beams have {len(interest.kept)} levels, but the tree has {tree.depth}, the items' "
                          "included; use beams that were recorded with a bundle of this run")
    for level, kept in enumerate(interest.kept, start=1):
        if len(kept.values) and not 0 <= kept.values.min() <= kept.values.max() < tree.size(level):
            raise ConfigError(f"a beam kept node {kept.values.max()} of level {level}, but the tree has "
                              f"{tree.size(level)} there; use beams that were recorded with a bundle of this run")
    return len(parts[0])


def _owners(lists: Ragged) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lists), dtype=np.int64), lists.lengths)


def _with_kept(keys: NDArray[np.integer], tree: Tree, interest: Interest, level: int) -> NDArray[np.integer]:
    """The keys of a level, and those of what beams kept there."""
    if not interest.kept:
        return keys
    kept = interest.kept[level - 1]
    return np.union1d(keys, _owners(kept) * tree.size(level) + kept.values)


def _lists(keys: NDArray[np.integer], users: int, size: int) -> Ragged:
    """Ascending keys as one list a user."""
    owners, nodes = np.divmod(keys, size)
    return Ragged.of_owners(owners, users, nodes)
