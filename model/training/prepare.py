"""The untrained network of a run, and the shape of its tree."""

from __future__ import annotations

import numpy as np
import torch

from model.config import ConfigError, TrainConfig
from model.data.load import Dataset
from model.network.monn import MoNN
from model.training.objective import task_weights
from model.tree.k_means import check_branching, default_branching


def prepare(dataset: Dataset, config: TrainConfig) -> tuple[MoNN, tuple[int, ...]]:
    """The untrained model on the best device at hand, and the branching of the tree.

    Raises:
        ConfigError: the branching exceeds the items, a layer of the stack has no level in the tree, or the task weights
            do not fit the log.
    """
    task_weights(dataset.spec, config)
    branching = config.branching or default_branching(len(dataset.items))
    check_branching(branching, len(dataset.items))
    if config.stack and config.stack[-1].level > len(branching):
        raise ConfigError(f"the stack has a layer for level {config.stack[-1].level}, but the tree of branching "
                          f"{'x'.join(map(str, branching))} has {len(branching)} above the items; name one of those, "
                          "or give the tree more levels by --branching")
    torch.manual_seed(config.seed)
    model = MoNN(dataset.encoder, config.model, len(branching), stack=config.stack, auxiliary=config.distilled)
    if dataset.spec.negatives == "impressions":
        rates = np.clip(dataset.train.labels.mean(axis=0), 1e-4, 1 - 1e-4)
        for at in range(len(model.layers)):
            model.layer(at).over_arch.start_at(torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32)))
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), branching
