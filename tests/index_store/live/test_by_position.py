"""Entries by position, against a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.live.by_position import replaced


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 20), st.none() | st.integers(0, 9), max_size=8), max_size=5))
def test_entries_are_those_of_a_dictionary_when_batches_replace_each_other(batches):
    positions, values, plain = np.empty(0, np.int32), np.empty(0, np.int64), {}
    for batch in batches:
        new = {at: value for at, value in batch.items() if value is not None}
        positions, values = replaced(positions, (values,), list(batch), list(new), (list(new.values()),))
        plain = {at: value for at, value in (plain | batch).items() if value is not None}
        assert dict(zip(positions.tolist(), values.tolist(), strict=True)) == plain
        assert positions.tolist() == sorted(plain)
        assert (positions.dtype, values.dtype) == (np.int32, np.int64)
