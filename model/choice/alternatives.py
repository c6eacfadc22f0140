"""What is chosen: the number of epochs, and the alternatives to the default of one setting after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from model.config.monn import SIZES, MoNNConfig
from model.config.train import TrainConfig
from model.data.load import Dataset

FEW_CLICKS = 50
"""Positives an ad, on average, below which its fields may say more than its id."""


@dataclass(frozen=True)
class Alternative:
    """Other values of one or two settings.

    Attributes:
        settings: name -> value; those of `chosen_of`.
        applies: whether it is worth a trial, given the settings so far and the log.
    """

    settings: Mapping[str, Any]
    applies: Callable[[TrainConfig, Dataset], bool] = field(default=lambda config, dataset: True)

    def of(self, config: TrainConfig) -> TrainConfig:
        """The settings with these instead."""
        values = dict(self.settings)
        model = config.model
        if "size" in values:
            model = replace(SIZES[values.pop("size")], over_arch=model.over_arch, dropout=model.dropout)
        if "dropout" in values:
            model = replace(model, dropout=values.pop("dropout"))
        return replace(config, **values, model=model)


def _forgets(config: TrainConfig, dataset: Dataset) -> bool:
    positives = int(dataset.train.labels.any(axis=1).sum())
    return bool(dataset.spec.item_fields) and positives < FEW_CLICKS * len(dataset.items)


def _samples(dataset: Dataset) -> bool:
    return dataset.spec.negatives == "sampled"


def _rate(times: float, where: Callable[[Dataset], bool] = lambda dataset: True) -> Alternative:
    """Learning rates so many times the defaults; worth a trial on some logs, as long as these are the defaults."""
    default = TrainConfig()
    return Alternative({name: times * getattr(default, name) for name in ("learning_rate", "table_learning_rate")},
                       lambda config, dataset: config.learning_rate == default.learning_rate and where(dataset))


ALTERNATIVES = (
    _rate(2.5, _samples),
    Alternative({"forget_share": 0.5}, _forgets),
    Alternative({"forget_share": 0.9}, lambda config, dataset: config.forget_share == 0.5),
    Alternative({"dropout": 0.2}),
    _rate(0.5),
    Alternative({"negatives": 192}, lambda config, dataset: _samples(dataset)),
    Alternative({"size": "medium"}),
)
"""In the order in which they are tried, each with what was accepted before."""


def chosen_of(config: TrainConfig) -> dict[str, Any]:
    """The values of all settings that can be chosen, by name."""
    sizes = [name for name, model in SIZES.items() if _shape(model) == _shape(config.model)]
    return {"epochs": config.all_epochs, "forget_share": config.forget_share, "dropout": config.model.dropout,
            "learning_rate": config.learning_rate, "table_learning_rate": config.table_learning_rate,
            "negatives": config.negatives, "size": sizes[0] if sizes else "custom"}


def _shape(model: MoNNConfig) -> MoNNConfig:
    default = MoNNConfig()
    return replace(model, over_arch=default.over_arch, dropout=default.dropout)


def with_epochs(config: TrainConfig, epochs: int) -> TrainConfig:
    """The settings with so many epochs in all, at least one of them with a tree; two rounds where others are left."""
    rounds = 2 if epochs > 2 else 1
    return replace(config, epochs=epochs - rounds, rounds=rounds, round_epochs=1)
