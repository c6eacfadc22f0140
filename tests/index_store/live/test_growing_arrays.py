"""Arrays that only grow, against plain concatenation."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.live.growing_arrays import GrowingArray, GrowingRagged


@settings(deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=6))
def test_views_stay_as_they_are_when_rows_are_added(sizes):
    rows = np.arange(2 * sum(sizes)).reshape(-1, 2)
    ends = np.cumsum(sizes)
    growing, views = GrowingArray(rows[:ends[0]]), []
    for first, end in pairwise(ends):
        views.append(growing.head(int(first)))
        growing.append(rows[first:end])
    for end, view in zip(ends, [*views, growing.head(int(ends[-1]))], strict=True):
        assert view.tolist() == rows[:end].tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=40), min_size=1, max_size=5))
def test_lists_are_those_of_all_parts_in_order(parts):
    growing = GrowingRagged(Ragged.of(parts[0]))
    for part in parts[1:]:
        growing.append(Ragged.of(part))
    plain = [row for part in parts for row in part]
    for count in (0, len(plain) // 2, len(plain)):
        head = growing.head(count)
        assert [head.row(at).tolist() for at in range(len(head))] == plain[:count]
