"""Corrections: ads with a pair get their own, all others the user's aggregate."""

import numpy as np

from index_store.speculation.corrections import Corrections
from index_store.speculation.user_pairs import UserPairs
from tests.speculated_bundles import planted_speculation


def corrections():
    codes = np.zeros((2, 5), np.int8)
    codes[:, :2] = [[10, 0], [30, -20]]
    return Corrections.of(planted_speculation(), UserPairs(np.array([4, 9], np.uint32), codes, 77.0, 10))


def test_ads_with_a_pair_get_their_own_and_others_the_aggregate():
    found = corrections().added(np.array([9, 0, 4, 300]))
    np.testing.assert_allclose(found, [[3, -2], [1, -0.5], [1, 0], [1, -0.5]], atol=1e-6)
    assert found.dtype == np.float32
    assert corrections().made_at == 77.0


def test_ads_with_a_pair_are_counted():
    assert corrections().known(np.array([9, 0, 4, 300])) == 2
    assert corrections().known(np.empty(0, np.int64)) == 0
    assert corrections().added(np.empty(0, np.int64)).shape == (0, 2)
