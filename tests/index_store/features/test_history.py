"""Histories on items of a bundle alone; those with added ads are in live/test_arrivals.py."""

import numpy as np

from index_store.features.history import History
from index_store.features.ragged import Ragged


def test_clicks_are_numbered_as_the_items_are():
    fields = {"brand": Ragged.of([[1], [2], [3]])}
    history = History.of(np.array([2, 0, 2], np.int32), fields)
    assert history.fields["brand"].take(history.clicks.row(0)).values.tolist() == [3, 1, 3]
    assert history.rows.tolist() == [2, 0, 2]
