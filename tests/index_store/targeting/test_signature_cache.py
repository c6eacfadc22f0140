"""The cache of signatures: what it keeps when it is full."""

import numpy as np

from index_store.targeting.eligibility import PositionBitmap
from index_store.targeting.signature_cache import SignatureCache


def test_oldest_bitmaps_go_first_when_the_cache_is_full():
    made = []

    def bitmap(key):
        def make():
            made.append(key)
            return PositionBitmap.of(np.array([True]))

        return make

    cache = SignatureCache(2)
    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        cache.get(key, bitmap(key))
    assert made == [b"a", b"b", b"c", b"b"]
    assert len(cache) == 2
