"""A planted split and a backbone that was fitted on it, which nobody may change."""

import pytest

from model.backbone import model
from tests.model.backbone.splits import SMALL, planted


@pytest.fixture(scope="session")
def split():
    return planted()


@pytest.fixture(scope="session")
def fitted(split):
    return model.fit(split.train, SMALL, seed=0)
