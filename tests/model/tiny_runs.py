"""Runs on the tiny worlds: settings, trainers, and what tests ask of them."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from model.config.monn import MoNNConfig, StackedLayer
from model.config.train import TrainConfig
from model.evaluation.recall import recall
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import Trainer
from service.bundles.golden import replay
from service.retrieval.retriever import Retriever
from tests.model.worlds import positives

TINY = TrainConfig(model=MoNNConfig(table_width=8, user_hidden=(16,), item_hidden=(16,), pair_hidden=(8,), dim=4),
                   branching=(4, 3), epochs=1, rounds=1, round_epochs=1, batch_users=16, negatives=24,
                   negative_pool=200)
JOINT = replace(TINY, tree="joint", rounds=2)
IN_CONTEXT = replace(TINY, epochs=6, batch_users=64, learning_rate=5e-3)
LARGER = replace(TINY.model, user_hidden=(24,), over_hidden=80, layers=2)
STACK = replace(TINY, epochs=3, rounds=2, lower_share=0.9, stack=(StackedLayer(1, LARGER),))


def run_of(folder, config=TINY, data=None):
    """A run with initial weights, in a folder that is its data folder too."""
    run = Run(RunFolder(folder), data or positives(), config)
    if not (folder / "config.json").exists():
        run.folder.create(config, folder)
    return run


def trainer_of(folder, config=TINY, data=None):
    return Trainer(run_of(folder, config, data))


def trained_run(folder, config=TINY, data=None):
    """A run that is trained to its end, in eval mode."""
    trainer = trainer_of(folder, config, data)
    trainer.fit()
    return trainer.run


def loss_of(trainer, groups, tree=None, seed=0):
    """The loss of some groups of the first fold."""
    batch = trainer.objective.prepare(groups, trainer.folds[0], np.random.default_rng(seed))
    return trainer.objective.loss(batch, tree, 1.0, np.random.default_rng(seed)).total


def weights_of(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def recall_of(run, k):
    data, clicks = run.dataset, run.clicks
    run.model.eval()
    users = np.arange(len(data.user_ids))
    first = np.searchsorted(data.test.users, np.arange(len(users) + 1)).astype(np.int64)
    found = recall(run.reader, clicks, run.key_index, users, Ragged(first, data.test.items), clicks.by_user, (k,))
    return found[f"recall@{k}"]


def interrupted(trainer, stop_at):
    """Trains until Ctrl-C at (epoch, batch)."""
    step = trainer._step

    def interrupting(epoch, batch, *rest):
        if (epoch, batch) == stop_at:
            raise KeyboardInterrupt
        return step(epoch, batch, *rest)

    trainer._step = interrupting
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


def interrupted_and_resumed(folder, stop_at, config=TINY):
    """A trainer of a run that got Ctrl-C at (epoch, batch), then went on to its end."""
    interrupted(trainer_of(folder, config), stop_at)
    resumed = trainer_of(folder, config)
    resumed.resume()
    assert (resumed.progress.epoch, resumed.progress.batch) == stop_at
    resumed.fit()
    return resumed


def golden_answers_of(folder):
    """What the service's own retriever answers to the golden requests of a bundle."""
    async def answers():
        retriever = Retriever(Bundle.open(folder))
        try:
            return [found async for found in replay(retriever)]
        finally:
            retriever.close()

    return asyncio.run(answers())
