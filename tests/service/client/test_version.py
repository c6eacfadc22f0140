"""Client and service are released together."""

import tomllib

from monn_hill.version import VERSION
from tests.paths import ROOT


def test_version_is_that_of_the_service():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
