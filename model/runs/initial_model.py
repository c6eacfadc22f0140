"""The network of a run before it is trained."""

from __future__ import annotations

import numpy as np
import torch

from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.network.monn import MoNN
from model.runs.label_heads import base_rates
from model.runs.task_weights import task_weights
from model.tree.k_means import check_branching


def initial_model(dataset: Dataset, config: TrainConfig) -> MoNN:
    """The untrained model, on the GPU if there is one; its biases start at the base rates of a log of impressions.

    Args:
        dataset: the log.
        config: with a branching.

    Raises:
        ConfigError: the tree has more leaves than the log has items, a layer of the stack names a level that the tree
            lacks, the task weights do not fit the log, or no label of a delayed task is known yet.
    """
    task_weights(dataset.spec, config)
    branching = config.branching
    check_branching(branching, len(dataset.items))
    if config.stack and config.stack[-1].level > len(branching):
        raise ConfigError(f"the stack has a layer for level {config.stack[-1].level}, but the tree of branching "
                          f"{'x'.join(map(str, branching))} has {len(branching)} above the items; name one of those, "
                          "or give the tree more levels with --branching")
    if config.stack and dataset.windows is not None:
        raise ConfigError("a stack cannot learn labels of several attribution windows; leave out --stack, or the "
                          "windows in features.json")
    torch.manual_seed(config.seed)
    model = MoNN(dataset.encoder, config.model, len(branching), stack=config.stack, auxiliary=config.auxiliary)
    if dataset.spec.negatives == "impressions":
        rates = np.clip(base_rates(dataset), 1e-4, 1 - 1e-4)
        for scorer in model.scorers:
            scorer.over_arch.start_at(torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32)), model.tasks)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
