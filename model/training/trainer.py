"""Training: MoNN on the log and its tree, checkpoints all along.

The schedule is `epochs` without a tree, then `rounds` times `round_epochs` with the index loss; the tree's learner
knows when a tree is due. Batch order, negatives and dropout depend on (seed, epoch, batch) alone, so a resumed run
repeats the batches that it would have seen, and ends at the same weights to the bit. The one exception is a stop within
an epoch with a tree: there the nodes' embeddings are taken from the model at the moment of the resumption.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.features.postings import KeyIndex
from model.config import ConfigError, TrainConfig
from model.data.load import Dataset
from model.examples.batches import Reader, TreeReader
from model.examples.moments import FOLDS, Clicks, Moments, fold_of_users, key_index
from model.training.checkpoint import Progress, RunFolder
from model.training.distill import open_teacher
from model.training.ensemble import EnsembleWeights, spare
from model.training.node_pair_loss import KeptTreeReader, PairLoss, open_pairs
from model.training.normalized_entropy import NormalizedEntropy, sampled_ne
from model.training.objective import Objective
from model.training.prepare import prepare
from model.training.warm_start import start_from
from model.tree.k_means import default_branching
from model.tree.learners import LEARNERS

MOMENT_EVENTS = 8
REFRESHES = 4
WARM_UP_BATCHES = 50
REPORT_BATCHES = 50


def hold_out(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Moves a share of the train events to the test set: the latest of each user, or random ones without an order."""
    if not share:
        return dataset
    events = dataset.train
    n = len(events.users)
    if dataset.spec.history_ordered:
        first = np.searchsorted(events.users, np.arange(len(dataset.user_ids) + 1))
        rank_from_end = first[events.users + 1] - np.arange(n)
        held = rank_from_end <= np.round(share * np.diff(first)[events.users])
    else:
        held = np.random.default_rng([seed, 2]).random(n) < share
    return replace(dataset, train=events.where(~held), test=events.where(held))


class Trainer:
    """One run over one log.

    Args:
        dataset: the log; its hold-out is cut here.
        config: settings.
        run: folder for checkpoints and the log.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, run: RunFolder) -> None:
        self.config, self.run = config, run
        self.dataset = dataset = hold_out(dataset, config.holdout, config.seed)
        self.model, self.branching = prepare(dataset, config)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "dense": torch.optim.AdamW(self.model.dense_parameters(), lr=config.learning_rate,
                                       weight_decay=config.weight_decay),
            "tables": torch.optim.SparseAdam(self.model.sparse_parameters(), lr=config.table_learning_rate)}
        self.reader = Reader(dataset, self.model)
        self.clicks = known = Clicks.of(dataset.train, len(dataset.user_ids))
        events, spared = dataset.train, None
        if config.stack:
            events, spared = spare(dataset, config.lower_share)
            known = Clicks.of(events, len(dataset.user_ids))
        self.fold = fold_of_users(len(dataset.user_ids), config.seed)
        self.everyone = key_index(dataset, self.clicks, np.arange(len(dataset.user_ids)))
        self.folds = [key_index(dataset, self.clicks, np.flatnonzero(self.fold != f))
                      for f in tqdm(range(FOLDS), desc="co-click counts", unit="fold")]
        self.learner = LEARNERS[config.tree](self.reader, known, self.folds[0], np.flatnonzero(self.fold == 0),
                                             self.branching, config, run.log)
        self.modules = {"model": self.model, **self.learner.modules}
        for module in self.learner.modules.values():
            self.optimizers["codebooks"] = torch.optim.Adam(module.parameters())
        moments = Moments.of(dataset.spec, events, known, MOMENT_EVENTS)
        self.objective = Objective(self.reader, events, known, moments, config)
        self.ensemble = EnsembleWeights(self.objective, spared, self.clicks, self.fold, self.folds,
                                        run.log) if spared is not None else None
        moments_of_fold = np.bincount(self.fold[moments.users], minlength=FOLDS)
        self.batches = int((-(-moments_of_fold // config.batch_users)).sum())
        self.epochs = config.epochs + config.rounds * config.round_epochs
        self.progress = Progress()
        self.sampled_ne: float | None = None
        self.pairs: PairLoss | None = None

    def resume(self) -> None:
        """Goes back to the last checkpoint."""
        self.learner.codes, self.progress = self.run.load(self.modules, self.optimizers)

    def fit(self) -> None:
        """Trains to the end of the schedule. KeyboardInterrupt leaves a checkpoint that `resume` goes on from.

        Raises:
            ConfigError, DataError: the teacher or the pairs cannot be used, or the loss is no number.
        """
        self.objective.teacher = open_teacher(self.config, self.run.config()[1], self.reader, self.objective.sampler)
        if self.config.pairs is not None:
            self.model.eval()
            tree = self.learner.tree(self.reader.all_items())[0]
            self.pairs = open_pairs(self.config, self.reader, tree, self.objective.events, self.objective.clicks,
                                    self.fold, self.objective.moments.users, self.objective.sampler,
                                    self.objective.task_weights, self.run.log)
        try:
            while self.progress.epoch < self.epochs:
                self._epoch(self.progress.epoch)
            self.model.eval()
            if self._tree_due(self.epochs):
                self.learner.learn()
                self._save()
        except KeyboardInterrupt:
            self._save()
            raise

    def _tree_due(self, epoch: int) -> bool:
        """Whether a tree is to be learned before an epoch; test-time training keeps the one it has."""
        return self.config.pairs is None and self.learner.due(epoch - self.config.epochs)

    def _save(self) -> None:
        self.run.save(self.modules, self.optimizers, self.learner.codes, self.progress)

    def _epoch(self, epoch: int) -> None:
        self.model.eval()
        if self.progress.batch == 0 and self._tree_due(epoch):
            self.learner.learn()
        tree = self.learner.tree_reader() if self.config.pairs is None else KeptTreeReader(self.learner)
        entropy = NormalizedEntropy(len(self.dataset.spec.tasks))
        plan = list(self.objective.moments.batches(self.fold, self.config.batch_users,
                                                   np.random.default_rng([self.config.seed, 3, epoch])))
        refresh_every = max(1, len(plan) // REFRESHES)
        start, losses = time.perf_counter(), []
        self.model.train()
        with tqdm(plan, initial=self.progress.batch, desc=f"epoch {epoch + 1}/{self.epochs}", unit="batch") as bar:
            for batch in range(self.progress.batch, len(plan)):
                fold, chosen = plan[batch]
                if tree is not None and batch and batch % refresh_every == 0:
                    self.model.eval()
                    tree.refresh()
                    self.model.train()
                losses.append(self._step(epoch, batch, self.folds[fold], chosen, tree, entropy))
                self.progress = Progress(epoch, batch + 1)
                bar.update()
                if batch % REPORT_BATCHES == 0:
                    bar.set_postfix(self._report(epoch, batch, losses[-REPORT_BATCHES:], entropy))
        self.model.eval()
        nodes = None
        if tree is not None:
            tree.refresh()
            if self.ensemble is not None:
                nodes = self.learner.nodes()
                self.ensemble.fit(nodes)
        self.progress = Progress(epoch + 1, 0)
        seconds = time.perf_counter() - start
        if self.dataset.spec.negatives == "sampled":
            events, known = self.objective.events, self.objective.clicks
            own = np.flatnonzero(self.fold[events.users] == 0)
            with self.reader.through(nodes):
                self.sampled_ne = sampled_ne(self.reader, known, self.folds[0], events, own, self.config.seed,
                                             leave_out=True)
        report = self._report(epoch, len(plan), losses, entropy, seconds=seconds)
        tqdm.write("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                             for key, value in report.items()))
        self._save()

    def _step(self, epoch: int, batch: int, index: KeyIndex, chosen: NDArray[np.int64],
              tree: TreeReader | None, entropy: NormalizedEntropy) -> float:
        done = epoch * self.batches + batch
        torch.manual_seed(hash((self.config.seed, done)) % 2**31)
        rng = np.random.default_rng([self.config.seed, 4, epoch, batch])
        decay = min(1.0, (done + 1) / WARM_UP_BATCHES) * max(0.0, 1 - done / (self.epochs * self.batches))
        rates = {"dense": self.config.learning_rate, "tables": self.config.table_learning_rate,
                 "codebooks": self.config.hill.learning_rate}
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = rates[name] * decay
            optimizer.zero_grad()
        # The index loss ramps up (Section 3.4, warm-up strategy).
        in_trees = done - self.config.epochs * self.batches
        warm_up = max(1.0, self.config.index_warm_up * self.batches)
        weight = self.config.index_weight * min(1.0, (in_trees + 1) / warm_up)
        if tree is not None:
            tree.advance(in_trees / ((self.epochs - self.config.epochs) * self.batches))
        loss, seen = self.objective.loss(chosen, index, tree, weight, rng)
        if self.pairs is not None and tree is not None:
            fold = int(self.fold[self.objective.moments.users[chosen[0]]])
            loss = loss + self.pairs.loss(fold, len(chosen), index, tree, rng)
        value = loss.item()
        if not np.isfinite(value):
            raise ConfigError(f"the loss is {value} at epoch {epoch + 1}, batch {batch + 1}; the checkpoint before it "
                              "is kept: resume with a lower learning rate")
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers.values():
            optimizer.step()
        if seen is not None:
            entropy.add(seen[0].cpu().numpy(), seen[1].cpu().numpy())
        return value

    def _report(self, epoch: int, batch: int, losses: list[float], entropy: NormalizedEntropy,
                **more: float) -> dict[str, float]:
        report = {"epoch": epoch + 1, "batch": batch, **({"loss": float(np.mean(losses))} if losses else {}), **more}
        if entropy.samples:
            names = (task.name for task in self.dataset.spec.tasks)
            report |= {f"ne_{name}": value for name, value in zip(names, entropy.values(), strict=True)}
        if self.sampled_ne is not None:
            report |= {"train_sampled_ne": self.sampled_ne}
        self.run.log(report)
        return report


def train(data: Path, dataset: Dataset, config: TrainConfig, out: Path, *, resume: bool) -> Trainer:
    """Trains a run, or goes on with one.

    Args:
        data: the folder that `dataset` was read from; remembered for the export.
        resume: go on from the checkpoint in `out`; `config` must be the run's.
    """
    run = RunFolder(out)
    if not resume:
        # Written out, for another default of a later version must not change what this run is.
        config = replace(config, branching=config.branching or default_branching(len(dataset.items)))
        run.create(config, data)
    trainer = Trainer(dataset, config, run)
    if resume:
        trainer.resume()
    elif config.start_from:
        start_from(trainer.model, trainer.learner, trainer.dataset, Path(config.start_from))
    trainer.fit()
    return trainer
