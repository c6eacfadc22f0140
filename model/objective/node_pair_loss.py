"""Test-time training of MoNN (Section 3.6): the loss of node pairs, added to that of the log.

The tree stays that of the run that is fine-tuned. A pair is a positive against other nodes of its level, in the loss of
a log of positives, on logs of impressions too (docs/decisions/0013). The clicks that made a pair are left out of the
history that its features read, as an example's own item is (docs/decisions/0004).
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

from index_store.features.encoder import Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree
from model.config.errors import ConfigError
from model.config.pairs import PairsConfig
from model.examples.batches import IdDropout, TreeReader
from model.examples.clicks import Clicks
from model.examples.folds import FOLDS, fold_of_users
from model.examples.key_index import key_index
from model.examples.negatives import known_positives
from model.objective.losses import sampled_loss
from model.objective.objective import Objective
from model.progress.lines import tell
from model.tree.node_pairs import IndexPairs, Interest, index_pairs, random_pairs
from model.tree.recorded_beams import read_beams


@dataclass(frozen=True)
class PairUsers:
    """The N users of node pairs: rows of the log, or users of recorded beams.

    Attributes:
        features: of the N users.
        history: N whole histories, most recent first.
        fold: (N,) fold of each user, or None for users of recorded beams, who are in no fold.
    """

    features: Features
    history: Ragged
    fold: NDArray[np.integer] | None


class PairLoss:
    """Draws node pairs for each batch and computes their loss.

    An epoch draws about as many pairs as there are, at most one for each group of examples; a pair weighs as much as a
    group.

    Args:
        objective: of the log; its reader, sampler and weights are those of the pairs too.
        users: of the pairs.
        pairs: of each level.
        indexes: for each fold of users, the key index counted without their clicks.
    """

    def __init__(self, objective: Objective, users: PairUsers, pairs: Sequence[IndexPairs],
                 indexes: Sequence[KeyIndex]) -> None:
        self.objective, self.users, self.pairs, self._indexes = objective, users, pairs, indexes
        self._groups = len(objective.groups)
        settings = objective.config.pairs
        self._from_history = settings is not None and settings.interest != "beam"
        of = np.repeat(np.arange(len(pairs)), [len(level) for level in pairs])
        at = np.concatenate([np.arange(len(level)) for level in pairs])
        owners = np.concatenate([level.users for level in pairs])
        own = [np.flatnonzero(users.fold[owners] == f) if users.fold is not None else np.arange(len(owners))
               for f in range(FOLDS)]
        self._of_fold = [(of[chosen], at[chosen]) for chosen in own]

    def loss(self, examples: int, tree: TreeReader, rng: np.random.Generator) -> Tensor:
        """The loss of pairs drawn for a batch, all of users in one fold.

        Args:
            examples: groups of examples in the batch.
            tree: scores the nodes.
            rng: draws.
        """
        fold = int(rng.integers(FOLDS))
        of, at = self._of_fold[fold]
        folds = FOLDS if self.users.fold is not None else 1
        wanted = min(float(examples), folds * len(of) * examples / max(1, self._groups))
        drawn = rng.integers(0, max(1, len(of)), int(wanted + rng.random()))  # 2.3 pairs are 2 or, less often, 3
        total = torch.zeros((), device=self.objective.reader.device)
        for place, pairs in enumerate(self.pairs):
            chosen = at[drawn[of[drawn] == place]]
            if len(chosen):
                total = total + len(chosen) / examples * self._of_level(pairs, chosen, self._indexes[fold], tree, rng)
        return total

    def _of_level(self, pairs: IndexPairs, chosen: NDArray[np.int64], index: KeyIndex, tree: TreeReader,
                  rng: np.random.Generator) -> Tensor:
        """Mean loss of the chosen pairs of a level."""
        objective, size = self.objective, tree.tree.size(pairs.level)
        config, reader, sampler = objective.config, objective.reader, objective.sampler
        rows, own = pairs.users[chosen], pairs.nodes[chosen]
        node_of_row = tree.node_of_row[pairs.level - 1]
        clicked = self.users.history.take(rows)
        users = reader.users(self.users.features.take(rows), self._history(clicked, own, node_of_row), index,
                             IdDropout(config.forget_share, rng))
        candidates = sampler.nodes(sampler.items(len(rows), config.negatives, config.negative_pool, rng), node_of_row,
                                   np.bincount(node_of_row, weights=sampler.q, minlength=size).astype(np.float64))
        excluded = (known_positives(candidates.ids, size, clicked.with_values(node_of_row[clicked.values]))
                    | known_positives(candidates.ids, size, pairs.touched.take(rows))
                    | (candidates.ids == own[:, None]))
        logits = reader.model.link(tree.score_nodes(users, pairs.level,
                                                    np.concatenate([own[:, None], candidates.ids], axis=1)))
        labels = torch.zeros(len(rows), logits.shape[2], device=logits.device)
        labels[:, 0] = 1  # a pair is a positive of the first task, which ranks
        return sampled_loss(logits[:, :1], logits[:, 1:], labels[:, None], reader.tensor(candidates.correction),
                            torch.from_numpy(excluded).to(logits.device), objective.task_weights)

    def _history(self, clicked: Ragged, nodes: NDArray[np.int64], node_of_row: NDArray[np.integer]) -> Ragged:
        """Histories of the pairs' users, without the clicks that made the pair."""
        owner = np.repeat(np.arange(len(clicked)), clicked.lengths)
        keep = node_of_row[clicked.values] != nodes[owner] if self._from_history else np.ones(len(owner), bool)
        return Ragged.of_lengths(np.bincount(owner[keep], minlength=len(clicked)), clicked.values[keep])


def open_pairs(objective: Objective, tree: Tree, log: Callable[[Mapping[str, Any]], None]) -> PairLoss | None:
    """Finds the node pairs that a run is to learn, or those of its control, and logs how many there are.

    Args:
        objective: of the run, whose settings name pairs.
        tree: of the run that it starts from.
        log: receives the report.

    Returns:
        None for the control on the log alone.

    Raises:
        ConfigError: the thresholds do not fit the tree, or find no pair.
        DataError: the files of beams cannot be used.
    """
    config = objective.config
    assert config.pairs is not None
    settings, dataset = config.pairs, objective.reader.dataset
    fold = fold_of_users(len(dataset.user_ids), config.seed)
    users, interest = _interest(settings, objective, tree, fold)
    pairs = index_pairs(tree, interest, settings.phi)
    _report(settings, pairs, len(users.history), log)
    if settings.control == "real":
        return None
    if settings.control == "random":
        rng = np.random.default_rng([config.seed, 10])
        pairs = [random_pairs(tree, level, rng) if len(level) else level for level in pairs]
    of_others = (objective.events.where(fold[objective.events.users] != number) for number in range(FOLDS))
    return PairLoss(objective, users, pairs, [key_index(dataset, Clicks.of(events, len(fold))) for events in of_others])


def _report(settings: PairsConfig, pairs: Sequence[IndexPairs], users: int,
            log: Callable[[Mapping[str, Any]], None]) -> None:
    """Logs the number of pairs; raises ConfigError if there are none."""
    found = {f"level {level.level}": len(level) for level in pairs}
    log({"pairs": found, "phi": settings.phi, "interest": settings.interest, "control": settings.control,
         "users": len(np.unique(np.concatenate([level.users for level in pairs])))})
    tell(f"node pairs: {', '.join(f'{n:,} at {level}' for level, n in found.items())}"
               + (f"; control: {settings.control} pairs" if settings.control else ""))
    if not sum(found.values()):
        raise ConfigError(f"phi {', '.join(map(str, settings.phi))} finds no pair in the {settings.interest} of "
                          f"{users:,} users; lower the first threshold, or give more beams")


def _interest(settings: PairsConfig, objective: Objective, tree: Tree,
              fold: NDArray[np.integer]) -> tuple[PairUsers, Interest]:
    """The users of the log, or of recorded beams, and their interests."""
    reader, events, clicks = objective.reader, objective.events, objective.clicks
    if settings.beams:
        beams = read_beams([Path(path) for path in settings.beams], tree, reader.spec)
        users = PairUsers(beams.features, beams.history, None)
        return users, Interest.of(settings.interest, beams.history, beams.kept)
    positives = events.labels[:, 0] == 1
    targets = Ragged.of_owners(events.users[positives], len(fold), events.items[positives])
    users = PairUsers(reader.dataset.users, clicks.histories(np.arange(len(fold))), fold)
    return users, Interest.of(settings.interest, targets)
