"""Test-time training of MoNN (Section 3.6): the loss of `<user, index node>` pairs beside that of the log.

The tree stays that of the run that is fine-tuned. A pair is a positive in the loss of a log of positives, against nodes
of its level, on logs of impressions too (docs/decisions/0013). What made a pair from a history is left out of the
history that its features see, as an example's own item is (docs/decisions/0004).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from index_store.features.encoder import Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree
from model.config import ConfigError, PairsConfig, TrainConfig
from model.data.load import Events
from model.examples.batches import Forget, HardTreeReader, Reader, TreeReader
from model.examples.moments import FOLDS, Clicks
from model.examples.negatives import NegativeSampler, known_positives
from model.training.losses import sampled_loss
from model.training.node_pairs import IndexPairs, Interest, index_pairs, random_pairs
from model.tree.learners import TreeLearner
from model.tree.recorded_beams import read_beams


class KeptTreeReader(HardTreeReader):
    """The tree of a run that learns no other one; only the embeddings of its nodes follow the item tower."""

    def __init__(self, learner: TreeLearner) -> None:
        self._learner = learner
        tree, virtual = learner.tree(learner.reader.all_items())
        super().__init__(learner.reader, tree, learner.index, learner.config.node_features, virtual)

    def refresh(self) -> None:
        """Takes representatives and virtual embeddings anew, whatever kind of tree it is."""
        tree, virtual = self._learner.tree(self.reader.all_items())
        self.take(tree)
        self._virtual = [self.reader.tensor(level) for level in virtual]


@dataclass(frozen=True)
class PairUsers:
    """The N users of pairs: rows of the log, or users of recorded beams.

    Attributes:
        features: of the N users.
        history: N histories, most recent first, as long as there are.
        fold: (N,) the fold whose count tables leave a user out, or None where the users are of no log.
    """

    features: Features
    history: Ragged
    fold: NDArray[np.integer] | None


class PairLoss:
    """Draws pairs for each batch and computes their loss.

    An epoch meets about as many pairs as there are, at most one for each example; a pair weighs as an example does.

    Args:
        reader: of the model in training.
        users: of the pairs.
        pairs: of each level.
        config: of the run.
        sampler: draws items as those of the log's examples.
        moments: (FOLDS,) moments of the log in each fold.
        task_weights: (tasks,).
    """

    def __init__(self, reader: Reader, users: PairUsers, pairs: Sequence[IndexPairs], config: TrainConfig,
                 sampler: NegativeSampler, moments: NDArray[np.integer], task_weights: Tensor) -> None:
        self.reader, self.users, self.pairs, self.config, self.sampler = reader, users, pairs, config, sampler
        self._moments, self._task_weights = moments, task_weights
        self._hides = config.pairs is not None and config.pairs.interest != "beam"
        of = np.repeat(np.arange(len(pairs)), [len(level) for level in pairs])
        at = np.concatenate([np.arange(len(level)) for level in pairs])
        owners = np.concatenate([level.users for level in pairs])
        own = [np.flatnonzero(users.fold[owners] == f) if users.fold is not None else np.arange(len(owners))
               for f in range(FOLDS)]
        self._of_fold = [(of[chosen], at[chosen]) for chosen in own]

    def loss(self, fold: int, examples: int, index: KeyIndex, tree: TreeReader, rng: np.random.Generator) -> Tensor:
        """The pairs' share in the loss of a batch.

        Args:
            fold: of the batch's users.
            examples: moments of the batch.
            index: key families counted without the fold.
            tree: scores the nodes.
            rng: draws.
        """
        of, at = self._of_fold[fold]
        moments = self._moments[fold] if self.users.fold is not None else self._moments.sum()
        wanted = min(float(examples), len(of) * examples / max(1, int(moments)))
        drawn = rng.integers(0, max(1, len(of)), int(wanted + rng.random()))  # 2.3 pairs are 2 or, less often, 3
        total = torch.zeros((), device=self.reader.device)
        for place, pairs in enumerate(self.pairs):
            chosen = at[drawn[of[drawn] == place]]
            if len(chosen):
                total = total + len(chosen) / examples * self._of_level(pairs, chosen, index, tree, rng)
        return total

    def _of_level(self, pairs: IndexPairs, chosen: NDArray[np.int64], index: KeyIndex, tree: TreeReader,
                  rng: np.random.Generator) -> Tensor:
        """Mean loss of the chosen pairs of a level."""
        config, size = self.config, tree.tree.size(pairs.level)
        rows, own = pairs.users[chosen], pairs.nodes[chosen]
        node_of_row = tree.node_of_row[pairs.level - 1]
        liked = self.users.history.take(rows)
        forget = Forget(config.forget_share, rng)
        users = self.reader.users(self.users.features.take(rows), self._history(liked, own, node_of_row), index, forget)
        candidates = self.sampler.nodes(
            self.sampler.items(len(rows), config.negatives, config.negative_pool, rng), node_of_row,
            np.bincount(node_of_row, weights=self.sampler.q, minlength=size).astype(np.float64))
        excluded = (known_positives(candidates.ids, size, liked.with_values(node_of_row[liked.values]))
                    | known_positives(candidates.ids, size, pairs.touched.take(rows))
                    | (candidates.ids == own[:, None]))
        logits = tree.score_nodes(users, pairs.level, np.concatenate([own[:, None], candidates.ids], axis=1))
        labels = torch.zeros(len(rows), logits.shape[2], device=logits.device)
        labels[:, 0] = 1  # interest is in the task that ranks
        return sampled_loss(logits[:, 0], logits[:, 1:], labels, self.reader.tensor(candidates.correction),
                            torch.from_numpy(excluded).to(logits.device), self._task_weights)

    def _history(self, liked: Ragged, nodes: NDArray[np.int64], node_of_row: NDArray[np.integer]) -> Ragged:
        """What the features see of histories: not what made the pair, and no more than the history's length."""
        owner = np.repeat(np.arange(len(liked)), liked.lengths)
        keep = node_of_row[liked.values] != nodes[owner] if self._hides else np.ones(len(owner), bool)
        lengths = np.bincount(owner[keep], minlength=len(liked))
        rank = np.arange(int(keep.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        first = rank < self.reader.spec.history_length
        lengths = np.minimum(lengths, self.reader.spec.history_length)
        return Ragged.of_lengths(lengths, liked.values[keep][first])


def open_pairs(config: TrainConfig, reader: Reader, tree: Tree, events: Events, clicks: Clicks,
               fold: NDArray[np.integer], moment_users: NDArray[np.integer], sampler: NegativeSampler,
               task_weights: Tensor, log: Callable[[Mapping[str, Any]], None]) -> PairLoss | None:
    """Finds the pairs that a run is to learn, or those of its control, and logs how many there are.

    Args:
        config: of the run.
        reader: of its model.
        tree: of the run that it starts from.
        events, clicks: of the train log.
        fold: (U,) of the users.
        moment_users: (G,) user of each moment.
        sampler, task_weights: of the run's loss.
        log: takes the report.

    Returns:
        None where the run learns no pairs: it has none, or is the control on real pairs alone.

    Raises:
        ConfigError: the thresholds do not fit the tree, or find no pair.
        DataError: the files of beams cannot be used.
    """
    asked = config.pairs
    if asked is None:
        return None
    users, interest = _interest(asked, reader, tree, events, clicks, fold)
    pairs = index_pairs(tree, interest, asked.phi)
    found = {f"level {level.level}": len(level) for level in pairs}
    log({"pairs": found, "phi": asked.phi, "interest": asked.interest, "control": asked.control,
         "users": len(np.unique(np.concatenate([level.users for level in pairs])))})
    tqdm.write(f"pairs of users and index nodes: {', '.join(f'{n:,} at {level}' for level, n in found.items())}"
               + (f"; control: {asked.control} pairs" if asked.control else ""))
    if not sum(found.values()):
        raise ConfigError(f"phi {', '.join(map(str, asked.phi))} finds no pair in the {asked.interest} of "
                          f"{len(users.history):,} users; lower the first threshold, or give more beams")
    if asked.control == "real":
        return None
    if asked.control == "random":
        rng = np.random.default_rng([config.seed, 10])
        pairs = [random_pairs(tree, level, rng) if len(level) else level for level in pairs]
    moments = np.bincount(fold[moment_users], minlength=FOLDS)
    return PairLoss(reader, users, pairs, config, sampler, moments, task_weights)


def _interest(asked: PairsConfig, reader: Reader, tree: Tree, events: Events, clicks: Clicks,
              fold: NDArray[np.integer]) -> tuple[PairUsers, Interest]:
    """Whose pairs are looked for, and their interest: of the log's users, or of those of recorded beams."""
    if asked.beams:
        beams = read_beams([Path(path) for path in asked.beams], tree, reader.spec)
        users = PairUsers(beams.features, beams.history, None)
        return users, Interest.of(asked.interest, beams.history, beams.kept)
    everyone = np.arange(len(fold))
    longest = int(np.diff(clicks.indptr).max(initial=0))
    chosen = events.labels[:, 0] == 1
    users = PairUsers(reader.dataset.users, clicks.histories(everyone, max(1, longest)), fold)
    targets = Ragged.of_owners(events.users[chosen], len(fold), events.items[chosen])
    return users, Interest.of(asked.interest, targets)
