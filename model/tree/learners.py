"""The ways to learn a tree behind one interface, so that training, export and service do not care which it was.

`em` clusters score profiles between epochs (Section 3.5), `joint` starts there once and then trains the codes with the
model (Sections 3.2 to 3.4), `posthoc` clusters the finished item embeddings: the control. Each keeps the hard codes of
its tree; the prefix tree, its medoids and the virtual embeddings of its nodes follow from them at any step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from index_store.features.postings import KeyIndex
from index_store.tree.node_content import node_means
from index_store.tree.tree import Tree, build_tree
from model.config import ConfigError, TrainConfig
from model.examples.batches import HardTreeReader, Reader, TreeReader
from model.examples.moments import Clicks
from model.tree.codebooks import Codebooks, check_collapse
from model.tree.health import health, health_table
from model.tree.k_means import dense, learn_codes
from model.tree.profiles import profile_width, score_profiles
from model.tree.soft_tree import SoftTreeReader, snapshot_tree, virtual_embeddings

Log = Callable[[Mapping[str, Any]], None]


class TreeLearner:
    """Learns the tree of one run by EM: a new tree before every round, on what the model thinks of the items by then.

    Args:
        reader: of the run's model.
        clicks: of the train events.
        index: key families, counted without the users to ask.
        among: user rows that may be asked what they think of items.
        branching: children of a node at each level.
        config: of the run.
        log: takes the reports.
    """

    def __init__(self, reader: Reader, clicks: Clicks, index: KeyIndex, among: NDArray[np.integer],
                 branching: tuple[int, ...], config: TrainConfig, log: Log) -> None:
        self.reader, self.clicks, self.index, self.among = reader, clicks, index, among
        self.branching, self.config, self.log = branching, config, log
        self.codes: NDArray[np.int32] | None = None
        """Codes (n_items, levels) of the tree; with `start_from` in the config at first those of the other run's tree,
        -1 for items that it lacked."""
        self.modules: dict[str, nn.Module] = {}

    def due(self, epoch: int) -> bool:
        """Whether to `learn` before an epoch, counted from the first one with a tree: at the start of each round."""
        return epoch in range(0, self.config.rounds * self.config.round_epochs, self.config.round_epochs)

    def learn(self) -> None:
        """Learns the codes by k-means, for a model in eval mode, and reports their balance."""
        began, embeddings = time.perf_counter(), self.reader.all_items()
        vectors = self._vectors(embeddings)
        before = self._start()
        codes = learn_codes(vectors, self.branching, self.config.seed, shared=self._shared, start=before)
        moved = moves(before, codes) if before is not None else {}
        self.codes = self._settled(vectors, codes)
        report, seconds = health(build_tree(self.codes, embeddings), self.branching), time.perf_counter() - began
        self.log({"tree": [asdict(level) for level in report], **moved, "seconds": seconds})
        tqdm.write("  ".join([f"tree of {' x '.join(map(str, self.branching))} learned in {seconds:.0f} s",
                              *(f"{name} {count:,}" for name, count in moved.items())]) + "\n" + health_table(report))

    def _start(self) -> NDArray[np.int32] | None:
        """Codes that k-means starts from: those of another run's tree, if there is one."""
        return self.codes if self.config.start_from else None

    @property
    def _shared(self) -> bool:
        """Whether codes mean the same under every parent."""
        return False

    def _vectors(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What k-means sees of items with embeddings (n_items, Di): (n_items, D)."""
        return score_profiles(self.reader, self.clicks, self.index, self.among, self.config.seed)

    def _settled(self, vectors: NDArray[np.float32], codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Takes the codes that k-means found in the vectors; returns their final names."""
        return codes

    def tree_reader(self) -> TreeReader | None:
        """The tree that the next batches train with, of a model in eval mode."""
        if self.codes is None:
            return None
        tree = build_tree(self.codes, self.reader.all_items())
        return HardTreeReader(self.reader, tree, self.index, self.config.node_features)

    def tree(self, embeddings: NDArray[np.float32]) -> tuple[Tree, list[NDArray[np.float32]]]:
        """The tree, and the virtual embeddings of each level above the items (nodes, Di), without level offsets.

        Args:
            embeddings: (n_items, Di) of the item tower as it is now.

        Raises:
            ConfigError: there is no tree yet.
        """
        tree = build_tree(self._known_codes(), embeddings)
        return tree, node_means(tree, embeddings)

    def nodes(self) -> TreeReader:
        """The tree as it is, for a model in eval mode; errors as above."""
        tree, virtual = self.tree(self.reader.all_items())
        return HardTreeReader(self.reader, tree, self.index, self.config.node_features, virtual)

    def _known_codes(self) -> NDArray[np.int32]:
        if self.codes is None:
            raise ConfigError("the run has no tree yet; resume the training until it learned one")
        return self.codes


class PosthocLearner(TreeLearner):
    """One tree after the last epoch, on the item embeddings alone; no loss ever sees it."""

    def due(self, epoch: int) -> bool:
        """When all epochs are done."""
        return epoch == self.config.rounds * self.config.round_epochs

    def _vectors(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        return embeddings

    def tree_reader(self) -> TreeReader | None:
        """None: training knows of no tree."""
        return None


class JointLearner(TreeLearner):
    """Codebooks that start from k-means and train with the model; each round reads the items anew."""

    def __init__(self, reader: Reader, clicks: Clicks, index: KeyIndex, among: NDArray[np.integer],
                 branching: tuple[int, ...], config: TrainConfig, log: Log) -> None:
        super().__init__(reader, clicks, index, among, branching, config, log)
        embedding = reader.model.item_width
        self.codebooks = Codebooks(branching, len(reader.dataset.items), embedding,
                                   max(profile_width(reader.spec), embedding), config.hill).to(reader.device)
        self.modules = {"index": self.codebooks}

    def _start(self) -> NDArray[np.int32] | None:
        return self.codes  # what the users think of the items changes from round to round; who is where stays

    @property
    def _shared(self) -> bool:
        return self.config.hill.codebooks == "shared"

    def _vectors(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        profiles = super()._vectors(embeddings)
        return self.codebooks.start(self.reader.tensor(embeddings), self.reader.tensor(profiles)).cpu().numpy()

    def _settled(self, vectors: NDArray[np.float32], codes: NDArray[np.int32]) -> NDArray[np.int32]:
        codes = dense(codes, shared=self._shared)
        self.codebooks.start_at(self.reader.tensor(vectors), codes)
        return codes

    def tree_reader(self) -> TreeReader | None:
        """The tree that the next batches train with, of a model in eval mode; it makes snapshots of itself."""
        if self.codes is None:
            return None
        return SoftTreeReader(self.reader, self.codebooks, self.index, self.config.node_features, self._renewed)

    def _renewed(self, codes: NDArray[np.int32], tree: Tree, gap: float) -> None:
        """Takes a snapshot as the tree of the run.

        Raises:
            ConfigError: a level collapsed.
        """
        report = health(tree, self.branching)
        self.log({"tree": [asdict(level) for level in report], "soft_hard_gap": gap,
                  **moves(self._known_codes(), codes)})
        check_collapse(report, [min(tree.n_items, int(nodes)) for nodes in np.cumprod(self.branching)])
        self.codes = codes

    def tree(self, embeddings: NDArray[np.float32]) -> tuple[Tree, list[NDArray[np.float32]]]:
        """The prefix tree of the last snapshot and its nodes' embeddings; arguments and errors as above."""
        codes = self._known_codes()
        tree = snapshot_tree(self.codebooks, codes, embeddings)
        return tree, virtual_embeddings(self.codebooks, codes, tree)


LEARNERS: dict[str, type[TreeLearner]] = {"em": TreeLearner, "joint": JointLearner, "posthoc": PosthocLearner}


def moves(before: NDArray[np.int32], codes: NDArray[np.int32]) -> dict[str, int]:
    """How many items lie under another leaf than before, of how many that lay somewhere."""
    known = before[:, 0] >= 0
    return {"moved": int((before[known] != codes[known]).any(axis=1).sum()), "of": int(known.sum())}
