"""The last stage of a training: nodes learn which of them hold the items that the finished model ranks highest.

The index loss teaches nodes from clicks, a few of which are seen for each user, and along with a model that still
changes. Here the finished model says what each of some users would get from an exhaustive search, and the nodes' own
pair layers learn to find it: what a beam asks of them. Items keep their scores.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from model.examples.user_batch import UserBatch
from model.progress.bars import Bar
from model.progress.lines import tell
from model.progress.range_workers import HERE, RangeWorkers
from model.runs.run import Run
from model.tree.best_items import best_items
from model.tree.item_scores import ItemScores
from model.tree.learned_tree import FixedTreeReader

PAIRS = 200_000_000
FEWEST_USERS, MOST_USERS = 256, 1000
"""Users who teach: as many as PAIRS allow to score all items for, within these bounds."""

TOP = 100
"""Items of a user's exhaustive answer that the nodes have to lead to."""

LAST = float(np.finfo(np.float32).min)
"""Score of an item that a user had already."""

BATCH, OTHERS = 16, 300
"""Users of a batch, and nodes drawn beside those that hold an item of one of their answers."""

LEARNING_RATE = 2e-3
"""Adam's, before the linear decay to zero."""


def teach_nodes(run: Run, workers: RangeWorkers = HERE) -> None:
    """Trains the pair layers of a run's nodes, and the offsets of their levels, in one pass over some users.

    Reports the mean cross-entropy between a user's answer and the nodes, all levels together, in the first and the last
    tenth of the batches. Does nothing without pair layers for nodes, or with fewer users with clicks than a batch.

    Args:
        run: in eval mode, its items trained to the end, with a tree.
        workers: who scores ranges of items for the answers.
    """
    began, layers, users = time.perf_counter(), run.model.node_layers, _teachers(run)
    if layers is None or len(users) < BATCH:
        return
    histories = run.clicks.histories(users)
    answers = _answers(run, users, histories, workers)
    nodes = FixedTreeReader(run.reader, run.tree, run.key_index, run.config.node_features)
    levels, batches = range(1, nodes.tree.depth), len(users) // BATCH
    optimizer = torch.optim.Adam([*layers.parameters(), run.model.level_offsets], lr=LEARNING_RATE)
    random, losses = np.random.default_rng([run.config.seed, 21]), []
    order = random.permutation(len(users))
    for at in Bar(range(batches), desc="nodes", unit="batch", leave=False):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - at / batches)
        chosen = order[at * BATCH:(at + 1) * BATCH]
        with torch.no_grad():
            asked = run.reader.users(run.dataset.users.take(users[chosen]), histories.take(chosen), run.key_index)
        losses.append(0.0)
        for level in levels:  # a step each: steps are what this stage has few of
            loss = _loss(nodes, asked, level, answers[chosen], random)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses[-1] += loss.item()
    tenth, seconds = max(1, batches // 10), time.perf_counter() - began
    before, after = float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))
    run.folder.log({"nodes_taught_by": len(users), "loss_before": before, "loss_after": after, "seconds": seconds})
    tell(f"nodes taught by the answers of {len(users):,} users in {seconds:.0f} s: loss {before:.3f} -> {after:.3f}")


def _teachers(run: Run) -> NDArray[np.int64]:
    """Rows of users with clicks.

    `export` measures beams on the first users of the same order; these are taken from its end.
    """
    n = len(run.dataset.user_ids)
    order = np.random.default_rng([run.config.seed, 7]).permutation(n)[::-1]
    active = order[np.diff(run.clicks.indptr)[order] > 0]
    return active[:int(np.clip(PAIRS // len(run.dataset.items), FEWEST_USERS, MOST_USERS))]


def _answers(run: Run, users: NDArray[np.int64], histories: Ragged, workers: RangeWorkers = HERE) -> NDArray[np.int64]:
    """Item rows of each user's exhaustive answer (U, TOP), without the own history, as beams are measured."""
    scores = ItemScores(run.reader, run.clicks, run.key_index)
    # Items of the history are still there, as the last ones, where there are too few others.
    return np.stack(best_items(scores, users, histories, min(TOP, len(run.dataset.items)), "answers for the nodes",
                               workers, LAST))


def _loss(nodes: FixedTreeReader, asked: UserBatch, level: int, answers: NDArray[np.int64],
          random: np.random.Generator) -> torch.Tensor:
    """Cross-entropy between where B users' answers (B, TOP) lie and the nodes of a level, over some of these."""
    held = nodes.node_of_row[level - 1][answers]
    drawn = random.choice(nodes.tree.size(level), min(OTHERS, nodes.tree.size(level)), replace=False)
    candidates = np.union1d(held, drawn)
    share = np.zeros((len(held), len(candidates)), np.float32)
    np.add.at(share, (np.arange(len(held))[:, None], np.searchsorted(candidates, held)), 1 / held.shape[1])
    logits = nodes.score_nodes(asked, level, candidates)[..., 0]
    return -(nodes.reader.tensor(share) * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
