"""Distillation: a teacher's soft labels, which the auxiliary head learns (Equation 3; ExFM's auxiliary head).

A teacher is another run on the same data, usually of a larger MoNN, or a file of soft labels from any source. Both
label pairs that were not shown; a file with timestamps labels the log's own impressions (`event_labels`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.checks import rows_of
from model.data.load import Dataset, Events
from model.data.parquet_table import ParquetTable, has_column
from model.data.tables import ADS, USERS
from model.examples.batches import BatchReader
from model.examples.negatives import NegativeSampler
from model.network.monn import MoNN
from model.objective.event_labels import EventLabels, read_event_labels
from model.objective.losses import impression_loss, listwise_loss
from model.objective.prepared import UserInputs
from model.objective.soft_labels import probabilities, soft_label_schema
from model.runs.checkpoint import RunFolder
from model.tree.k_means import default_branching

UNLABELED_PAIRS = 16
"""Unlabeled pairs of a group of examples: about two per impression, few enough to keep a large teacher cheap."""

POOL = 1024
"""Items that a batch draws its unlabelled pairs from."""


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's labels of a batch's unlabelled pairs.

    Attributes:
        rows: (B, M) int64 items.
        labeled: (B, M) bool, which of them have a label; the others pad the matrix.
        values: (B, M, tasks) float32 probabilities, or shares among the M candidates if `listwise`.
        listwise: whether the teacher's logits are defined only up to a constant for each user, as on a log of
            positives.
    """

    rows: NDArray[np.int64]
    labeled: NDArray[np.bool_]
    values: Tensor
    listwise: bool

    def loss(self, logits: Tensor, task_weights: Tensor) -> Tensor:
        """L_unsup of the student's auxiliary logits (B, M, tasks); 0 for a batch without labels."""
        if self.listwise:
            return listwise_loss(logits, self.values, task_weights)
        if not self.labeled.any():
            return logits.sum() * 0
        labeled = torch.from_numpy(self.labeled).to(logits.device)
        return impression_loss(logits[labeled], self.values[labeled], task_weights)


class Teacher(ABC):
    """A source of soft labels for unlabelled pairs."""

    @abstractmethod
    def label(self, inputs: UserInputs, rng: np.random.Generator) -> SoftLabels:
        """Unlabeled pairs of the users of a batch, and their soft labels."""


class RunTeacher(Teacher):
    """A trained run that scores sampled items.

    Args:
        reader: of the run's model, in eval mode.
        sampler: draws the items.
    """

    def __init__(self, reader: BatchReader, sampler: NegativeSampler) -> None:
        self._reader, self._sampler = reader, sampler
        self._listwise = reader.spec.negatives == "sampled"

    def label(self, inputs: UserInputs, rng: np.random.Generator) -> SoftLabels:
        rows = self._sampler.items(len(inputs.users), UNLABELED_PAIRS, POOL, rng).ids
        with torch.no_grad():
            users = self._reader.users(inputs.features, inputs.history, inputs.index)
            items = self._reader.items(rows)
            logits = self._reader.model.link(self._reader.score_items(users, rows, items))
            values = torch.softmax(logits, dim=1) if self._listwise else torch.sigmoid(logits)
        return SoftLabels(rows, np.ones(rows.shape, bool), values, self._listwise)


class FileTeacher(Teacher):
    """A file of soft labels.

    Args:
        items: (N,) item rows of the pairs, sorted by user.
        values: (N, tasks) float32 probabilities.
        starts: (users + 1,) int64, where the pairs of each user begin.
        device: where the student is.
    """

    def __init__(self, items: NDArray[np.int32], values: NDArray[np.float32], starts: NDArray[np.int64],
                 device: torch.device) -> None:
        self._items, self._values, self._starts, self._device = items, values, starts, device

    def label(self, inputs: UserInputs, rng: np.random.Generator) -> SoftLabels:
        first = self._starts[inputs.users]
        counts = self._starts[np.asarray(inputs.users) + 1] - first
        pick = (rng.random((len(counts), UNLABELED_PAIRS)) * counts[:, None]).astype(np.int64)
        at = np.minimum(first[:, None] + pick, len(self._items) - 1)
        labeled = np.repeat(counts[:, None] > 0, UNLABELED_PAIRS, axis=1)
        return SoftLabels(self._items[at].astype(np.int64), labeled,
                          torch.from_numpy(self._values[at]).to(self._device), listwise=False)


def open_teacher(config: TrainConfig, data: Path, student: BatchReader, sampler: NegativeSampler,
                 events: Events) -> Teacher | EventLabels | None:
    """The teacher that a run names, if any.

    Args:
        config: of the student.
        data: its data folder.
        student: reads the student's data.
        sampler: draws unlabelled items.
        events: that the student learns from.

    Raises:
        ConfigError: the folder holds no run, or one without a checkpoint, of a stack, or of other data; the file labels
            impressions of a log of positives, or is for the main head and labels come late.
        DataError: the file does not hold soft labels of this data.
    """
    if config.teacher_file:
        file = Path(config.teacher_file)
        if has_column(file, "timestamp"):
            if not config.auxiliary and student.dataset.windows is not None:
                raise ConfigError(f"teacher_head is main, but labels of the log {data} come late (windows), and the "
                                  "main head cannot learn the mean of a label that is not known yet; choose auxiliary")
            return read_event_labels(file, replace(student.dataset, train=events), data)
        if not config.auxiliary:
            raise ConfigError(f"teacher_head is {config.teacher_head}, which learns labels of the log's own "
                              f"impressions alone, but {file} has no timestamps; write it with `python -m model label`")
        return read_soft_labels(file, student.dataset, student.device)
    if not config.teacher:
        return None
    run = RunFolder(Path(config.teacher))
    settings, taught = run.config()
    if taught != data:
        raise ConfigError(f"the teacher {config.teacher} was trained on {taught}, this run reads {data}; name a "
                          "teacher of the same data")
    if config.holdout and (settings.holdout, settings.seed) != (config.holdout, config.seed):
        raise ConfigError(f"the teacher {config.teacher} held out {settings.holdout} of the events by seed "
                          f"{settings.seed}, this run {config.holdout} by seed {config.seed}, so it has seen events "
                          "that this run is evaluated on; name a teacher with the same --holdout and --seed")
    if settings.stack:
        raise ConfigError(f"the teacher {config.teacher} is a stack, whose logits of an item need its tree; name a run "
                          "of one layer, such as its largest one trained alone")
    levels = len(settings.branching or default_branching(len(student.dataset.items)))
    model = MoNN(student.dataset.encoder, settings.model, levels, auxiliary=settings.auxiliary)
    run.load_modules({"model": model})
    return RunTeacher(BatchReader(student.dataset, model.to(student.device).eval()), sampler)


def read_soft_labels(path: Path, dataset: Dataset, device: torch.device) -> FileTeacher:
    """Reads a Parquet file with `user_id`, `ad_id` and a column of probabilities for each task.

    Raises:
        DataError: the file or a column is missing, an id is not in the data, or a value is not a probability.
    """
    schema = soft_label_schema(dataset.spec)
    table = ParquetTable(path, schema.names)
    values = probabilities(table, dataset.spec)
    users, items = (rows_of(table, column, table.column(schema.field(column)), pa.array(ids).cast(pa.string()), owner)
                    for column, ids, owner in (("user_id", dataset.user_ids, USERS),
                                               ("ad_id", dataset.encoder.item_ids, ADS)))
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], np.arange(len(dataset.user_ids) + 1)).astype(np.int64)
    return FileTeacher(items[order], values[order], starts, device)
