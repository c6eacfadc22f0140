"""Warm start: a run that starts from another one, weights by name and value, codes by item (Section 3.5).

The new log may have other users, ads and values. A value of both logs keeps its table row; a new one starts from the
row of the unknown value, which has been trained for that. Dense fields are standardised by the new log. Test-time
training keeps the tree as well, and therefore needs the same ads.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID
from index_store.features.encoder import UNKNOWN, FeatureEncoder
from index_store.features.vocabulary import look_up
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.network.monn import MoNN
from model.runs.checkpoint import RunFolder
from model.runs.run import Run

CHOSEN = {"epochs", "rounds", "round_epochs", "start_from", "pairs"}
"""Settings of test-time training; all others are those of the run that it starts from, so that the loss is the same."""

FINE_TUNING = 0.1
"""Learning rates of test-time training and of a run that follows, relative to those of the run."""


def continued(config: TrainConfig, run: Path) -> TrainConfig:
    """Settings of a run that starts from another: the network's shape, a stack's split and the kind of tree stay.

    Raises:
        ConfigError: there is no such run, or the settings name another shape or kind.
    """
    other, default = RunFolder(run).config()[0], TrainConfig()
    names: tuple[str, ...] = ("model", "stack", "lower_share", "branching", "tree", "hill")
    if config.pairs is not None:
        names = tuple(field.name for field in fields(config) if field.name not in CHOSEN)
    for name in names:
        if getattr(config, name) not in (getattr(default, name), getattr(other, name)):
            raise ConfigError(f"{name} is {getattr(config, name)}, but {run} has {getattr(other, name)}; a run that "
                              "starts from another keeps it, so leave it out")
    if config.pairs is not None:
        return replace(other, epochs=0, rounds=config.rounds, round_epochs=config.round_epochs, pairs=config.pairs,
                       start_from=str(run.resolve()), index_warm_up=0.0,
                       learning_rate=FINE_TUNING * other.learning_rate,
                       table_learning_rate=FINE_TUNING * other.table_learning_rate)
    return replace(config, **{name: getattr(other, name) for name in names}, epochs=0, start_from=str(run.resolve()))


def start_from(run: Run, path: Path) -> None:
    """Copies the weights and codes of another run into a new one.

    Args:
        run: the new one.
        path: folder of the other one.

    Raises:
        ConfigError: the other run has no checkpoint or no tree, its data is gone, or declares other fields.
        DataError: its data cannot be read.
    """
    data = RunFolder(path).config()[1]
    if not data.is_dir():
        raise ConfigError(f"{path} was trained on {data}, which is gone; its vocabularies are needed to start from it")
    other = Run.open(path)
    before, now = other.dataset, run.dataset
    if before.spec != now.spec:
        raise ConfigError(f"{data}/features.json, which {path} was trained on, declares other fields, tasks or key "
                          "families than the new data; train a new run without --from")
    keeps_tree = run.config.pairs is not None
    if keeps_tree and not np.array_equal(before.encoder.item_ids, now.encoder.item_ids):
        new = int((look_up(before.encoder.item_ids, now.encoder.item_ids) < 0).sum())
        raise ConfigError(f"{path} has a tree over {len(before.items)} ads, the data has {len(now.items)}, {new} of "
                          "them new; test-time training keeps the tree, so give it the same ads, or leave --phi out")
    if other.tree.codes is None:
        raise ConfigError(f"{path} has no tree yet; resume it until it has learned one")
    _take_weights(run, other)
    if keeps_tree:
        for name, module in run.tree.modules.items():
            module.load_state_dict(other.tree.modules[name].state_dict())
    run.tree.codes = _codes_by_item(other.tree.codes, before, now)


@torch.no_grad()
def _take_weights(run: Run, other: Run) -> None:
    _take_dense(run.model, other.model)
    for tables, old in ((run.model.user_tables, other.model.user_tables),
                        (run.model.item_tables, other.model.item_tables)):
        for name, table in old.arrays().items():
            tables.arrays()[name].copy_(_renumbered(name, table, other.dataset.encoder, run.dataset.encoder))
    if run.model.context is not None and other.model.context is not None:
        for (name, table), (_, own) in zip(other.model.context.tables(), run.model.context.tables(), strict=True):
            own.copy_(_renumbered(name, table, other.dataset.encoder, run.dataset.encoder))


def _take_dense(model: MoNN, old: MoNN) -> None:
    """Copies all but the tables. An auxiliary head that only one of the two has is left out."""
    sparse = {id(weight) for weight in old.sparse_parameters()}
    sparse |= {id(table) for _, table in old.context.tables()} if old.context is not None else set()
    heads = {id(head) for scorer in old.scorers for head in scorer.heads()}
    own = dict(model.named_parameters())
    for name, value in old.named_parameters():
        if id(value) in heads:
            shared = min(len(value), len(own[name]))
            own[name][:shared] = value[:shared]
        elif id(value) not in sparse:
            own[name].copy_(value)
    for scorer, before in zip(model.scorers, old.scorers, strict=True):
        scales = dict(scorer.interaction_tower.named_buffers())
        for name, scale in before.interaction_tower.named_buffers():
            scales[name].copy_(scale)
    if model.ensemble:
        model.weights.copy_(old.weights)
        model.intercept.copy_(old.intercept)


def _renumbered(name: str, table: torch.Tensor, before: FeatureEncoder, now: FeatureEncoder) -> torch.Tensor:
    """A table's rows in the order of the new vocabulary."""
    row = look_up(_values(before, name), _values(now, name)) + 1  # UNKNOWN where the other log had no such value
    return table[torch.from_numpy(np.concatenate([[UNKNOWN], row])).to(table.device)]


def _values(encoder: FeatureEncoder, table: str) -> NDArray[np.bytes_]:
    side, field = table.split(".", 1)
    if field == ITEM_ID:
        return encoder.item_ids
    return encoder.vocabularies[f"{side if side in ('user', 'context') else 'item'}.{field}"]


def _codes_by_item(codes: NDArray[np.int32], before: Dataset, now: Dataset) -> NDArray[np.int32]:
    """Codes of the new log's items, -1 for those that the other log lacks."""
    row = look_up(before.encoder.item_ids, now.encoder.item_ids)
    return np.where(row[:, None] >= 0, codes[row], np.int32(-1))
