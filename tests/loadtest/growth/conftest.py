"""Growth over two tiny worlds: one is made for real, the other is a finished copy that is kept."""

import shutil
from dataclasses import replace

import pytest

from loadtest.growth import grow
from tests.loadtest.conftest import TINY

COPY = replace(TINY, world=replace(TINY.world, ads=600))


@pytest.fixture(scope="session")
def doubled(grown, tmp_path_factory):
    """The folder of `grown`, and a copy of its world that passes for one of twice as many ads."""
    folder = tmp_path_factory.mktemp("doubled")
    for ads in (300, 600):
        shutil.copytree(grown / "300_ads", folder / f"{ads}_ads")
    for file in ("bench.json", "steps.json"):
        copied = folder / "600_ads" / file
        copied.write_text(copied.read_text().replace('"ads": 300', '"ads": 600'))
    return folder


@pytest.fixture(scope="session")
def report(doubled):
    return grow.grow(doubled, [TINY, COPY])
