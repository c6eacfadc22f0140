"""The testbed of scenarios."""

from index_store.bundle import pointer
from loadtest.chaos.testbed import FIRST, SECOND


def test_store_points_to_the_bundle_that_is_asked_for_however_often(testbed):
    for name in (FIRST, SECOND, FIRST):
        store = testbed.store(name)
        assert pointer.read(store).bundle == name
        assert {FIRST, SECOND} <= {folder.name for folder in store.iterdir()}
    assert testbed.bundle == store / FIRST
