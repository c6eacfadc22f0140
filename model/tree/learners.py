"""Ways to learn a tree, behind one interface: EM, joint with the model, or k-means after the training.

`em` clusters score profiles between epochs (Section 3.5). `joint` starts from such a clustering and then trains the
codes together with the model (Sections 3.2 to 3.4). `posthoc`, the control, clusters the finished item embeddings.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.tree.tree import Tree, build_tree
from model.config.train import TrainConfig
from model.examples.batches import BatchReader, HardTreeReader, TreeReader
from model.progress.lines import tell
from model.progress.range_workers import HERE, RangeWorkers
from model.tree.codebooks import check_collapse
from model.tree.health import health, health_table
from model.tree.k_means import dense, learn_codes
from model.tree.learned_tree import CodebookTree, LearnedTree
from model.tree.matching import matched_codes
from model.tree.profiles import ProfileUsers, score_profiles
from model.tree.repair import split_outgrown
from model.tree.soft_tree import SoftTreeReader

Log = Callable[[Mapping[str, Any]], None]


class TreeLearner:
    """EM: before every round a new tree, clustered by how the model scores the items at that point.

    Args:
        tree: to learn.
        reader: of the run's model.
        users: whose scores of the items are clustered.
        config: of the run.
        log: receives the reports.
        folder: for what is too large for memory while a tree is learned.
        workers: who scores ranges of items.
    """

    def __init__(self, tree: LearnedTree, reader: BatchReader, users: ProfileUsers, config: TrainConfig,
                 log: Log, folder: Path, workers: RangeWorkers = HERE) -> None:
        self.tree, self.reader, self.users, self.config, self.log = tree, reader, users, config, log
        self.folder, self.workers = folder, workers

    def due(self, epoch: int) -> bool:
        """Whether to `learn` before an epoch, counted from the first one with a tree: at the start of each round."""
        return epoch in range(0, self.config.rounds * self.config.round_epochs, self.config.round_epochs)

    def learn(self) -> None:
        """Learns the codes by k-means, for a model in eval mode, and reports their balance."""
        began, branching = time.perf_counter(), self.config.branching
        vectors = self._vectors()
        before = self._start()
        codes = learn_codes(vectors, branching, self.config.seed, shared=self._shared_codes, start=before)
        if before is not None:
            codes = self._continued(before, vectors, codes)
        moved = moves(before, codes) if before is not None else {}
        self.tree.codes = self._adopt(vectors, codes)
        del vectors
        shutil.rmtree(self.folder, ignore_errors=True)
        report, seconds = health(self._tree(), branching), time.perf_counter() - began
        self.log({"tree": [asdict(level) for level in report], **moved, "seconds": seconds})
        tell("  ".join([f"tree of {' x '.join(map(str, branching))} learned in {seconds:.0f} s",
                              *(f"{name} {count:,}" for name, count in moved.items())]) + "\n" + health_table(report))

    def _start(self) -> NDArray[np.int32] | None:
        """Codes that k-means starts from: those of the run that this one started from, if any."""
        return self.tree.codes if self.config.start_from else None

    @property
    def _shared_codes(self) -> bool:
        """Whether a code has the same meaning under every parent."""
        return False

    def _tree(self) -> Tree:
        """The tree of the codes, without embeddings: its representatives are any of the members."""
        codes = self.tree.required_codes()
        return build_tree(codes, np.empty((len(codes), 0), np.float32))

    def _vectors(self) -> NDArray[np.floating]:
        """The vectors (n_items, D) to cluster."""
        return score_profiles(self.reader, self.users, self.config.seed, self.folder, self.workers)

    def _adopt(self, vectors: NDArray[np.floating], codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """The codes that k-means found in the vectors, as the tree will hold them."""
        return codes

    def _continued(self, before: NDArray[np.int32], vectors: NDArray[np.floating],
                   codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """The codes that k-means found from those of an earlier tree, repaired, with the numbers of that tree."""
        return matched_codes(before, split_outgrown(vectors, codes))

    def tree_reader(self) -> TreeReader | None:
        """The tree that the next batches train with, for a model in eval mode; None before the first one."""
        if self.tree.codes is None:
            return None
        tree, virtual = self.tree.build(self.reader.embeddings)
        return HardTreeReader(self.reader, tree, self.users.index, self.config.node_features, virtual)


class PosthocLearner(TreeLearner):
    """One tree after the last epoch, clustered by item embeddings; the model trains without a tree."""

    def due(self, epoch: int) -> bool:
        """Whether all epochs are done."""
        return epoch == self.config.rounds * self.config.round_epochs

    def _vectors(self) -> NDArray[np.floating]:
        return self.reader.all_items()

    def tree_reader(self) -> TreeReader | None:
        return None


class JointLearner(TreeLearner):
    """Codebooks that k-means initialises and that train with the model; each round recomputes the score profiles."""

    tree: CodebookTree

    def _start(self) -> NDArray[np.int32] | None:
        return self.tree.codes  # profiles change from round to round, but an item keeps its place in the tree

    @property
    def _shared_codes(self) -> bool:
        return self.config.hill.codebooks == "shared"

    def _continued(self, before: NDArray[np.int32], vectors: NDArray[np.floating],
                   codes: NDArray[np.int32]) -> NDArray[np.int32]:
        return codes  # the codebooks have room for as many codes as were planned, and their rows keep their numbers

    def _vectors(self) -> NDArray[np.floating]:
        profiles, embeddings = np.asarray(super()._vectors(), np.float32), self.reader.all_items()
        read: NDArray[np.float32] = self.tree.codebooks.start(self.reader.tensor(embeddings),
                                                              self.reader.tensor(profiles)).cpu().numpy()
        return read

    def _adopt(self, vectors: NDArray[np.floating], codes: NDArray[np.int32]) -> NDArray[np.int32]:
        codes = dense(codes, shared=self._shared_codes)
        self.tree.codebooks.start_at(self.reader.tensor(np.asarray(vectors, np.float32)), codes)
        return codes

    def tree_reader(self) -> TreeReader | None:
        """The tree that the next batches train with, for a model in eval mode; it takes its own snapshots."""
        if self.tree.codes is None:
            return None
        return SoftTreeReader(self.reader, self.tree.codebooks, self.users.index, self.config.node_features,
                              self._take_snapshot)

    def _take_snapshot(self, codes: NDArray[np.int32], tree: Tree, gap: float) -> None:
        """Takes a snapshot of the codebooks as the run's tree, and reports its balance.

        Raises:
            ConfigError: a level collapsed.
        """
        report = health(tree, self.config.branching)
        self.log({"tree": [asdict(level) for level in report], "soft_hard_gap": gap,
                  **moves(self.tree.required_codes(), codes)})
        check_collapse(report, [min(tree.n_items, int(nodes)) for nodes in np.cumprod(self.config.branching)])
        self.tree.codes = codes


LEARNERS: dict[str, type[TreeLearner]] = {"em": TreeLearner, "joint": JointLearner, "posthoc": PosthocLearner}


def moves(before: NDArray[np.int32], codes: NDArray[np.int32]) -> dict[str, int]:
    """How many items changed their leaf node (`moved`), out of those that had one (`of`)."""
    placed = before[:, 0] >= 0
    return {"moved": int((before[placed] != codes[placed]).any(axis=1).sum()), "of": int(placed.sum())}
