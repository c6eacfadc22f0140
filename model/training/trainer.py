"""Training of a run: MoNN on the log together with its tree, with a checkpoint after every epoch.

The order of batches, their negatives and dropout depend on (seed, epoch, batch) alone, so a resumed run repeats the
batches that it would have seen, and ends with the same weights to the bit. The one exception is a stop within an epoch
with a tree: there the nodes' embeddings are those of the model at the moment of resumption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import Dataset, Events
from model.examples.batches import TreeReader
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.examples.folds import FOLDS, Fold
from model.examples.key_index import key_index
from model.objective.distill import open_teacher
from model.objective.node_pair_loss import PairLoss, open_pairs
from model.objective.objective import Objective
from model.objective.preparation import Preparation
from model.objective.prepared import Prepared
from model.progress.bars import Bar
from model.progress.lines import tell
from model.runs.checkpoint import Progress
from model.runs.run import Run
from model.runs.warm_start import start_from
from model.runs.workers import ALONE, Workers
from model.training.ensemble import EnsembleWeights
from model.training.learned_log import Counted, LearnedLog
from model.training.node_teaching import teach_nodes
from model.training.normalized_entropy import sampled_ne
from model.training.report import REPORT_BATCHES, EpochReport
from model.training.schedule import Schedule
from model.training.table_adam import TableAdam
from model.tree.learned_tree import FixedTreeReader
from model.tree.learners import LEARNERS, TreeLearner
from model.tree.profiles import ProfileUsers

HeldOutFigures = Callable[[Run], Mapping[str, float | None]]

GROUP_EVENTS = 8
"""Most events of a group of examples."""

REFRESHES = 4
"""How many times an epoch with a tree refreshes the nodes' embeddings."""


class Trainer:
    """Trains a run.

    Args:
        run: as it is in memory; `resume` loads its checkpoint.
        folds: those of another run on the same events with the same seed; None to count them, which takes long.
        workers: who train it together; each has a trainer.

    Attributes:
        after_batch: called after every batch, if set; what it raises ends the training.
        held_out: what the run reaches on events that it does not learn from, measured after every epoch, if set.
        say: receives the line of each epoch.
    """

    def __init__(self, run: Run, folds: Sequence[Fold] | None = None, workers: Workers = ALONE) -> None:
        self.run, self.config, self.workers = run, run.config, workers
        log = LearnedLog.of(run.dataset, self.config)
        events, clicks = log.events, run.clicks
        if self.config.stack:
            clicks = Clicks.of(events, len(run.dataset.user_ids))
        groups = ExampleGroups.of(run.dataset.spec, events, clicks, GROUP_EVENTS, log.fold)
        self.folds = folds or list(Bar(Fold.all_of(run.dataset, events, log.fold), desc="folds", unit="fold",
                                        total=FOLDS, leave=None))
        self.optimizers = self._optimizers()
        self.learner = self._learner(clicks)
        self.objective = Objective(run.reader, events, clicks, groups, self.config, workers)
        self.preparation = Preparation(self.objective, self.folds, workers)
        self.ensemble = self._ensemble(log.withheld)
        groups_of_fold = np.bincount(groups.fold, minlength=FOLDS)
        self.schedule = Schedule(self.config, int((-(-groups_of_fold // self.config.batch_users)).sum()))
        self.progress = Progress()
        self.pairs: PairLoss | None = None
        self.after_batch: Callable[[], None] | None = None
        self.held_out: HeldOutFigures | None = None
        self.say: Callable[[str], None] = tell
        self._figures: dict[str, float | None] = {}
        self._calibrate()

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimizers by the prefix of their tensors in a checkpoint; the schedule sets the learning rates."""
        model = self.run.model
        found: dict[str, torch.optim.Optimizer] = {
            "dense": torch.optim.AdamW(model.dense_parameters(), weight_decay=self.config.weight_decay, fused=True),
            "tables": TableAdam(model.sparse_parameters())}
        if model.context is not None:
            found["context"] = torch.optim.Adam(model.context.parameters())
        for module in self.run.tree.modules.values():
            found["codebooks"] = torch.optim.Adam(module.parameters())
        return found

    def _learner(self, clicks: Clicks) -> TreeLearner:
        """The tree's learner; it learns from users with all their clicks, as they are served."""
        run = self.run
        index = key_index(run.dataset, clicks) if self.config.stack else run.key_index
        users = ProfileUsers(clicks, index, np.arange(len(run.dataset.user_ids)))
        return LEARNERS[self.config.tree](run.tree, run.reader, users, self.config, run.folder.log,
                                          run.folder.path / "ranges", self.workers.ranges)

    def _ensemble(self, withheld: Events | None) -> EnsembleWeights | None:
        if withheld is None:
            return None
        return EnsembleWeights(self.objective, withheld, self.run.clicks, self.learner.users.index, self.run.folder.log)

    def resume(self) -> None:
        """Loads the last checkpoint."""
        self.run.load()
        self.progress = self.run.folder.load_optimizers(self.optimizers)

    def fit(self) -> None:
        """Trains to the end of the schedule. A KeyboardInterrupt leaves a checkpoint that `resume` continues from.

        Raises:
            ConfigError, DataError: the teacher or the pairs cannot be used, or the loss is not finite.
        """
        run = self.run
        self.workers.align(run.modules.values())  # which also waits until the first one has begun the folder
        self.objective.teacher = open_teacher(self.config, run.data, run.reader, self.objective.sampler,
                                              self.objective.events)
        self._open_pairs()
        try:
            while self.progress.epoch < self.schedule.epochs:
                self._epoch(self.progress.epoch)
            run.model.eval()
            if self._tree_due(self.schedule.epochs):
                self._learn_tree()
                run.model.start_nodes()
                self._save()
        except KeyboardInterrupt:
            self._save()
            raise
        if self._nodes_untaught:  # an interruption loses this stage alone, which starts anew
            if self.workers.first:
                teach_nodes(run, self.workers.ranges)
            self.progress = Progress(self.schedule.epochs, 1)
            self._save()
        self.workers.align(run.modules.values())

    @property
    def _nodes_untaught(self) -> bool:
        """Whether the last stage is to come: with a tree that was learned along with the model."""
        return (self.progress == Progress(self.schedule.epochs, 0) and self.run.tree.codes is not None
                and self.config.tree != "posthoc" and self.config.pairs is None)

    def _calibrate(self) -> None:
        """Sets the scale of the interaction features by those of one batch; a run that is loaded brings its own."""
        rng = np.random.default_rng([self.config.seed, 13])
        fold, chosen = next(self.objective.groups.batches(self.config.batch_users, rng))
        self.objective.calibrate(chosen, self.folds[fold], rng)

    def _open_pairs(self) -> None:
        if self.config.pairs is None:
            return
        run = self.run
        run.model.eval()
        tree, _ = run.tree.build(run.reader.embeddings)
        self.pairs = open_pairs(self.objective, tree, run.folder.log)

    def _tree_due(self, epoch: int) -> bool:
        """Whether a tree is to be learned before an epoch; test-time training keeps the one it has."""
        return self.config.pairs is None and self.learner.due(epoch - self.config.epochs)

    def _learn_tree(self) -> None:
        if self.workers.first:
            self.learner.learn()
        self.run.tree.codes = self.workers.handed(self.run.tree.codes)

    def _tree_reader(self) -> TreeReader | None:
        """The tree that an epoch trains with."""
        if self.config.pairs is None:
            return self.learner.tree_reader()
        return FixedTreeReader(self.run.reader, self.run.tree, self.run.key_index, self.config.node_features)

    def _save(self) -> None:
        self.run.folder.save(self.run.modules, self.optimizers, self.run.tree.codes, self.progress)

    def _epoch(self, epoch: int) -> None:
        self.run.model.eval()
        if self.progress.batch == 0 and self._tree_due(epoch):
            self._learn_tree()
        if self.progress.batch == 0 and epoch == self.config.epochs and not self.config.start_from:
            self.run.model.start_nodes()
        tree = self._tree_reader()
        report = EpochReport(epoch, [task.name for task in self.run.dataset.spec.tasks], self.run.folder.log)
        began = time.perf_counter()
        batches = self._batches(epoch, tree, report)
        self.run.model.eval()
        nodes = self._fit_ensemble(tree) if self.workers.first else None
        self.progress = Progress(epoch + 1, 0)
        if not self.workers.first:
            return
        seconds = time.perf_counter() - began
        self._measure(nodes)
        text = report.whole(batches, {"seconds": seconds, **self._figures})
        self.say("  ".join(f"{name} {value}" for name, value in text.items()))
        self._save()

    def _batches(self, epoch: int, tree: TreeReader | None, report: EpochReport) -> int:
        """Trains the batches of an epoch that are left, and returns how many it has in all."""
        model, rng = self.run.model, np.random.default_rng([self.config.seed, 3, epoch])
        plan = list(self.objective.groups.batches(self.config.batch_users, rng))
        refresh_every = max(1, len(plan) // REFRESHES)
        model.train()
        first = self.progress.batch
        with Bar(plan, initial=first, desc=f"epoch {epoch + 1}/{self.schedule.epochs}", unit="batch",
                 leave=None) as bar:
            for batch, prepared in enumerate(self.preparation.batches(epoch, first, plan[first:]), start=first):
                if tree is not None and batch and batch % refresh_every == 0:
                    model.eval()
                    tree.refresh()
                    model.train()
                report.losses.append(self._step(epoch, batch, prepared, tree, report))
                self.progress = Progress(epoch, batch + 1)
                bar.update()
                if batch % REPORT_BATCHES == 0:
                    bar.set_postfix(report.recent(batch, self._figures))
                if self.after_batch is not None:
                    self.after_batch()
        return len(plan)

    def _step(self, epoch: int, batch: int, prepared: Prepared, tree: TreeReader | None,
              report: EpochReport) -> dict[str, float]:
        """One step of the optimizers on a batch; returns the parts of the loss."""
        at, seed = Progress(epoch, batch), self.config.seed
        self._seed(hash((seed, self.schedule.done(at))) % 2**31)
        rng = np.random.default_rng([seed, 4, epoch, batch])
        for name, rate in self.schedule.learning_rates(at).items():
            if name in self.optimizers:
                self.optimizers[name].param_groups[0]["lr"] = rate
                self.optimizers[name].zero_grad()
        if tree is not None:
            tree.advance(self.schedule.tree_share(at))
        found = self.objective.loss(prepared, tree, self.schedule.index_weight(at), rng)
        total, parts = found.total, dict(found.parts)
        if self.pairs is not None and tree is not None:
            parts["pairs"] = self.pairs.loss(len(prepared.own), tree, rng)
            total = total + parts["pairs"]
        total.backward()  # type: ignore[no-untyped-call]
        figures = torch.stack([total, *parts.values()]).detach()
        self.workers.add_up((parameter for optimizer in self.optimizers.values()
                             for group in optimizer.param_groups for parameter in group["params"]),
                            [figures] if found.scored is None else [figures, found.scored])
        value, *of_parts = figures.tolist()
        if not np.isfinite(value):
            raise ConfigError(f"the loss is {value} at epoch {epoch + 1}, batch {batch + 1}; the checkpoint before it "
                              "is kept: resume with a lower learning rate")
        for optimizer in self.optimizers.values():
            optimizer.step()
        if found.scored is not None:
            report.entropy.add(found.scored[0].cpu().numpy(), found.scored[1].cpu().numpy())
        return dict(zip(parts, of_parts, strict=True))

    def _seed(self, seed: int) -> None:
        """Seeds dropout on the run's own device; `torch.manual_seed` takes milliseconds for those not in use."""
        device = self.run.reader.device
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)

    def _fit_ensemble(self, tree: TreeReader | None) -> TreeReader | None:
        """Fits the weights of a stack at the end of an epoch with a tree; returns the nodes that it was fitted with."""
        if tree is None:
            return None
        tree.refresh()
        if self.ensemble is None:
            return None
        nodes = self.run.nodes()
        self.ensemble.fit(nodes)
        return nodes

    def _measure(self, nodes: TreeReader | None) -> None:
        """Measures what is held out, and on a log of positives the NE of train events, which impressions yield."""
        run, objective = self.run, self.objective
        with run.reader.using_nodes(nodes):
            if self.held_out is not None:
                self._figures |= self.held_out(run)
            if run.dataset.spec.negatives != "sampled":
                return
            groups, fold = objective.groups, self.folds[0]
            own = groups.events.take(np.flatnonzero(groups.fold == 0)).values
            self._figures["train_sampled_ne"] = sampled_ne(run.reader, fold.clicks, fold.index, objective.events, own,
                                                           self.config.seed)


def new_trainer(data: Path, dataset: Dataset, config: TrainConfig, out: Path, *, resume: bool,
                workers: Workers = ALONE, counted: Counted | None = None) -> Trainer:
    """A trainer for a new run, or for one that is resumed.

    Args:
        data: the folder that `dataset` was read from; remembered for evaluation and export.
        dataset: the log.
        config: settings; on resumption those of the run.
        out: folder of the run.
        resume: continue from the checkpoint in `out`.
        workers: who train it together.
        counted: of the same log and settings; None to count it.
    """
    run = Run(workers.folder(out), dataset, config)
    if not resume:
        # With its branching written out, since a later version may have another default.
        run.folder.create(run.config, data)
    if counted is not None:
        run.key_index = counted.index
    trainer = Trainer(run, counted.folds if counted is not None else None, workers)
    if resume:
        trainer.resume()
    elif config.start_from:
        start_from(run, Path(config.start_from))
    return trainer


def train(data: Path, dataset: Dataset, config: TrainConfig, out: Path, *, resume: bool,
          held_out: Callable[[Dataset, int], HeldOutFigures] | None = None, workers: Workers = ALONE,
          counted: Counted | None = None) -> Run:
    """Trains a run to the end.

    Args:
        data, dataset, config, out, resume, workers, counted: as those of `new_trainer`.
        held_out: of a data set and a seed, what to measure after every epoch of a run that holds events out.
    """
    trainer = new_trainer(data, dataset, config, out, resume=resume, workers=workers, counted=counted)
    if held_out is not None and trainer.config.holdout and workers.first:
        trainer.held_out = held_out(trainer.run.dataset, trainer.config.seed)
    trainer.fit()
    return trainer.run
