"""Changes of ads as the log hands them out, and arrivals without a network."""

import numpy as np

from index_store.changes.change_log import Change, Kind
from index_store.features.encoder import Features
from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.live.arrivals import equal
from index_store.live.encoded_ads import EncodedAds


def changes(*pairs, after=0):
    """Changes of (ad id, status or whole state), numbered from `after` + 1."""
    return [Change(sequence=sequence, at=0.0, kind=Kind.AD, id=ad_id, fields=state if isinstance(state, dict) else
                   {"status": state}) for sequence, (ad_id, state) in enumerate(pairs, start=after + 1)]


class PlainArrivals:
    """Encodes the fields of ads, and lists them under random leaves; what a network would compute is zero."""

    def __init__(self, encoder, items, tree):
        self._encoder, self._items, self._tree = encoder, items, tree
        self._random = np.random.default_rng(0)

    def prepare(self):
        pass

    def features(self, raw):
        return self._encoder.encode_item(raw)

    def differ(self, row, features):
        return not equal(self._items.take(np.array([row])), features)

    def encode(self, ad_ids, features):
        n, leaves = len(ad_ids), self._tree.size(self._tree.depth - 1) if self._tree.depth > 1 else 0
        places = [self._random.permutation(leaves)[:2] for _ in ad_ids]
        return EncodedAds(
            features=Features(np.concatenate([one.dense for one in features]),
                              np.concatenate([one.categorical for one in features]),
                              tuple(map(Ragged.concatenated, zip(*(one.multi for one in features), strict=True)))),
            keys=ItemKeys(1, Ragged.of([[]] * n)), embeddings=np.zeros((n, 1), np.float32), spectral=(),
            leaves=np.array(places, np.int32).reshape(n, -1))
