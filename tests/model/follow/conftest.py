"""A tiny log in the types of the format, and a run on a small world, made once."""

from dataclasses import replace

import pytest

from index_store.declaration.spec import TaskSpec
from model.data.load import load_dataset
from model.sources import parquet, synthetic_days
from model.training.trainer import train
from tests.model.tiny_runs import TINY


@pytest.fixture
def log(tmp_path, tiny):
    """The data folder of the tiny log, whose tasks have the names of events."""
    tiny.spec = replace(tiny.spec, tasks=(TaskSpec("click"), TaskSpec("conversion")))
    tiny.tables["events"] = tiny.tables["events"].rename_columns({"buy": "conversion"})
    parquet.write(tiny.save(tmp_path / "source"), tmp_path / "log")
    return tmp_path / "log"


@pytest.fixture(scope="session")
def followed_run(tmp_path_factory):
    """A run on the log of a world of 120 ads that moves for a day, which nobody may change."""
    folder = tmp_path_factory.mktemp("followed")
    synthetic_days.write(folder / "data", 120, 80, 1_500, 5, 1, 0.05)
    config = replace(TINY, branching=(4, 3), batch_users=64)
    train(folder / "data", load_dataset(folder / "data"), config, folder / "run", resume=False)
    return folder / "run"
