"""A run: settings, data set, model and tree, opened by training, evaluation and export alike."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from torch import nn

from index_store.features.postings import KeyIndex
from model.config.train import TrainConfig
from model.data.hold_out import hold_out
from model.data.load import Dataset, load_dataset
from model.examples.batches import BatchReader, HardTreeReader, TreeReader
from model.examples.clicks import Clicks
from model.examples.key_index import key_index
from model.runs.checkpoint import RunFolder
from model.runs.initial_model import initial_model
from model.tree.k_means import default_branching
from model.tree.learned_tree import new_tree


class Run:
    """A run with initial weights and without a tree; `Run.open` loads its checkpoint.

    Co-click counts take most of the time to open a run, so they are computed when they are first read.

    Args:
        folder: of the run.
        dataset: the log; events that the settings hold out are moved from the train to the test set.
        config: settings; an empty branching is replaced by the default one.

    Raises:
        ConfigError: the settings do not fit the log.
    """

    def __init__(self, folder: RunFolder, dataset: Dataset, config: TrainConfig) -> None:
        self.folder = folder
        self.config = replace(config, branching=config.branching or default_branching(len(dataset.items)))
        self.dataset = hold_out(dataset, config.holdout, config.seed)
        self.model = initial_model(self.dataset, self.config)
        self.reader = BatchReader(self.dataset, self.model)
        self.tree = new_tree(self.reader, self.config)

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in a folder, with the weights and the tree of its last checkpoint.

        Raises:
            ConfigError: there is no run or no checkpoint.
            DataError: the data folder that it was trained on cannot be read.
        """
        folder = RunFolder(path)
        config, data = folder.config()
        run = cls(folder, load_dataset(data), config)
        run.load()
        return run

    def load(self) -> None:
        """Loads the weights and the tree of the last checkpoint."""
        self.tree.codes = self.folder.load_modules(self.modules)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by the prefix of its tensors."""
        return {"model": self.model, **self.tree.modules}

    @property
    def data(self) -> Path:
        """The data folder that the events were read from."""
        return self.folder.config()[1]

    @cached_property
    def clicks(self) -> Clicks:
        """All clicks of the train events."""
        return Clicks.of(self.dataset.train, len(self.dataset.user_ids))

    @cached_property
    def key_index(self) -> KeyIndex:
        """Key index counted over all clicks, as it is served."""
        return key_index(self.dataset, self.clicks)

    def nodes(self) -> TreeReader:
        """The nodes of the tree, for a model in eval mode.

        Raises:
            ConfigError: the run has no tree yet.
        """
        tree, virtual = self.tree.build(self.reader.embeddings)
        return HardTreeReader(self.reader, tree, self.key_index, self.config.node_features, virtual)
