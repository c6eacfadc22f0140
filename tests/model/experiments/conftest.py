"""A small log that all tables are made of."""

import pytest

from tests.model.commands import model


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "data"
    model("data", "synthetic", "--ads", 300, "--users", 60, "--events", 1000, "--out", folder)
    return folder
