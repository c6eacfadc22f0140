"""Logs and runs that several tests read, made once a session; and one thread for torch.

The tensors of these tests are tiny, so a second thread only waits for the first.
"""

from dataclasses import replace

import pytest
import torch

from model.data.load import load_dataset
from model.sources import synthetic
from model.sources.truth import TrueWorld
from tests.model.planted import ADS, EVENTS, SEED, USERS
from tests.model.tiny_log import TinyLog
from tests.model.tiny_runs import IN_CONTEXT, TINY, trained_run
from tests.model.worlds import impressions, in_context


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run of `TINY` on `positives`, trained to its end, which nobody may change."""
    return trained_run(tmp_path_factory.mktemp("tiny") / "run")


@pytest.fixture(scope="session")
def learned_run(tmp_path_factory):
    """The same with four epochs before the tree: it has learned the planted category. Nobody may change it either."""
    return trained_run(tmp_path_factory.mktemp("learned") / "run", replace(TINY, epochs=4))


@pytest.fixture(scope="session")
def impressions_run(tmp_path_factory):
    """A run of `TINY` on `impressions`, which nobody may change."""
    return trained_run(tmp_path_factory.mktemp("impressions") / "run", TINY, impressions())


@pytest.fixture(scope="session")
def context_run(tmp_path_factory):
    """A run on `in_context`, which nobody may change."""
    return trained_run(tmp_path_factory.mktemp("context") / "run", IN_CONTEXT, in_context())


@pytest.fixture
def tiny() -> TinyLog:
    return TinyLog()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A planted world: its folder, its log and its truth."""
    folder = tmp_path_factory.mktemp("world")
    synthetic.write(folder, ADS, USERS, EVENTS, SEED)
    return folder, load_dataset(folder), TrueWorld.open(folder)
