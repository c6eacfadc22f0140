"""Readers that cannot read. What they read of real services is tested with the command."""

import pytest

from loadtest.churn.readers import Readers


def test_block_fails_when_nobody_answers():
    with pytest.raises(ConnectionRefusedError), Readers([("127.0.0.1", 9)], ["7"], 100, 0) as readers:
        readers._threads[0].join()
    assert readers.answers == []
