"""CPM order: sorted by bid and row, and its first ads that pass, however few do."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.value.bids import CPM
from index_store.value.cpm_order import CpmOrder
from tests.index_store.value.valued import random_bids


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 300), st.integers(1, 20), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_the_head_is_the_first_ads_that_pass(n, k, share, seed):
    random = np.random.default_rng(seed)
    bids, rows, passing = random_bids(n, random), random.permutation(n), random.random(n) < share
    order = CpmOrder.of_all(bids, rows)
    micros, types = bids.whole
    expected = sorted((-int(micros[at]), int(rows[at]), at) for at in range(n) if micros[at] and types[at] == CPM)
    assert order.positions.tolist() == [at for _, _, at in expected]
    assert order.head(k, lambda positions: passing[positions]).tolist() == [
        at for _, _, at in expected if passing[at]][:k]
