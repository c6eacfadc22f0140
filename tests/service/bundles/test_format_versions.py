"""A bundle of every format version is kept and answers its golden requests forever.

When the format changes, write one more: python -m tests.tiny_bundle tests/bundles/v<version>
"""

import asyncio

import pytest

from index_store.bundle.manifest import FORMAT_VERSION
from service.__main__ import check
from tests.paths import BUNDLES


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_old_bundle_answers_as_sealed_when_checked(version, capsys):
    assert asyncio.run(check(BUNDLES / f"v{version}")) == 0, capsys.readouterr().out
