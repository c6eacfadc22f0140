"""One tiny synthetic world with its bundles, made by the real commands once for all tests that need one."""

import pytest

from loadtest.demo.steps import WorldSize
from loadtest.growth import grow

TINY = grow.Stage(WorldSize(300, 200, 4_000, 0, 1, 1, 512, 20, seed=1), users=10, queries=5)


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """Folder in which `grow` made its TINY world, `300_ads`; nobody may change what is there."""
    out = tmp_path_factory.mktemp("grow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        grow.grow(out, [TINY])
    return out
