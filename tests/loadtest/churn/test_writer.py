"""A writer that is refused. What it writes to real services is tested with the command."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from loadtest.churn.catalogue import Catalogue
from loadtest.churn.writer import Writer


def test_error_ends_the_writes_when_nobody_answers(tiny_bundle):
    catalogue = Catalogue(Bundle.open(tiny_bundle).content, np.random.default_rng(0))
    writer = Writer(catalogue, [("127.0.0.1", 9)] * 2, "ad")
    with pytest.raises(ConnectionRefusedError):
        writer.write(["pause"] * 10, 100, "writes")
    assert writer.visible == []
