"""One Ray for the tests of this folder, started by the program as `--workers` starts it."""

import pytest

from model.cluster.training import RayTraining


@pytest.fixture(scope="session")
def on_ray():
    ray = pytest.importorskip("ray", reason="the extra cluster is not installed here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else Ray's processes wait for all other tests on these cores
        yield RayTraining(2, oversubscribe=True)
    ray.shutdown()
