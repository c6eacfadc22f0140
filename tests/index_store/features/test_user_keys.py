"""The keys of random users against plain loops over their histories and fields."""


import numpy as np
from hypothesis import given, settings

from tests.index_store.features.catalogues import catalogues, keys_by_hand


@settings(max_examples=100, deadline=None)
@given(catalogues())
def test_user_keys_are_those_found_by_hand_when_histories_are_random(catalogue):
    hits, starts = catalogue.hits(), catalogue.index.starts
    for user in range(len(catalogue.histories)):
        expected = {starts[f] + key: (f, values) for f in range(len(catalogue.reaches))
                    for key, values in keys_by_hand(catalogue, f, user).items()}
        at = slice(hits.indptr[user], hits.indptr[user + 1])
        assert hits.keys[at].tolist() == sorted(expected)
        assert hits.families[at].tolist() == [expected[key][0] for key in sorted(expected)]
        np.testing.assert_allclose(hits.values[at], np.reshape([expected[key][1] for key in sorted(expected)],
                                                               (-1, hits.values.shape[1])), rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(catalogues())
def test_a_part_holds_the_keys_of_its_users(catalogue):
    hits, users = catalogue.hits(), len(catalogue.histories)
    part = hits.part(slice(users // 2, users))
    for user in range(users // 2, users):
        here, there = part.indptr[user - users // 2:][:2], hits.indptr[user:user + 2]
        assert part.keys[slice(*here)].tolist() == hits.keys[slice(*there)].tolist()
        assert part.families[slice(*here)].tolist() == hits.families[slice(*there)].tolist()
        assert part.values[slice(*here)].tolist() == hits.values[slice(*there)].tolist()
