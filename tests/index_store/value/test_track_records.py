"""Track records: counts that grow, against a plain dict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from index_store.value.track_records import MOST, TrackRecords

COUNTS = st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 70_000), st.integers(0, 3)), max_size=8)


def counts_of(records, positions=range(8)):
    return records.at(np.array(list(positions))).tolist()


@given(st.lists(COUNTS, max_size=4))
def test_counts_are_sums_that_stop_at_the_largest(batches):
    records = TrackRecords.sealed(5, np.arange(10).reshape(5, 2)).extended(np.array([-1, 3, -1]))
    plain = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [0, 0], [6, 7], [0, 0]])
    for batch in batches:
        before = counts_of(records)
        more = np.array(list(batch.values()), np.int64).reshape(-1, 2)
        later = records.counted(np.array(list(batch), np.int64), more)
        for position, counts in batch.items():
            plain[position] = np.minimum(plain[position] + counts, MOST)
        assert counts_of(records) == before
        records = later
        assert counts_of(records) == plain.tolist()


def test_ads_of_a_bundle_without_counts_are_not_new():
    records = TrackRecords.sealed(2, None).extended(np.array([-1]))
    assert counts_of(records, [0, 1, 2]) == [[MOST, MOST], [MOST, MOST], [0, 0]]
