"""A log of impressions whose purchases come late, one impression a second."""

from dataclasses import replace

import numpy as np

from index_store.declaration.spec import TaskSpec
from index_store.features.encoder import FeatureEncoder
from model.data.label_windows import NEVER, LabelWindows
from tests.model.worlds import impressions


def late(seconds, delay=lambda rows: rows % 50, rule="waiting"):
    """`impressions` with windows of some seconds for the purchase, which came `delay(row)` seconds after its row."""
    data = impressions()
    tasks = (data.spec.tasks[0], TaskSpec("purchase", windows=tuple(s / 3600 for s in seconds), time="bought_at"))
    spec = replace(data.spec, tasks=tasks)
    log = data.train
    delays = np.where(log.labels[:, 1] == 1, delay(np.arange(len(log))), NEVER)[:, None]
    log = replace(log, delays=delays.astype(np.int64), late=(1,))
    windows = LabelWindows((1,), (tuple(seconds),), int(log.timestamps.max()), rule)
    return replace(data, spec=spec, encoder=FeatureEncoder(spec, data.encoder.vocabularies, {}, data.encoder.item_ids),
                   train=replace(log, labels=windows.known(log.labels, log.timestamps, log.delays)), windows=windows)


def targets_of(data):
    """What the train events teach."""
    log = data.train
    return data.windows.targets(log.labels, log.users, log.items, log.timestamps, log.delays)
