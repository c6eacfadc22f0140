"""Runs on impressions that hold some out: one to serve, and a foundation model."""

from dataclasses import replace

import pytest

from tests.model.tiny_runs import LARGER, TINY, trained_run
from tests.model.worlds import impressions

HELD_OUT = replace(TINY, holdout=0.2)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("served") / "run", HELD_OUT, impressions())


@pytest.fixture(scope="session")
def foundation(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("foundation") / "run", replace(HELD_OUT, model=LARGER, epochs=2),
                       impressions())
