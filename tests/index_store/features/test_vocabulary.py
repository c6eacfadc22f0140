"""Keys are found in sorted vocabularies, and dense values have one encoding."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.vocabulary import look_up, look_up_one, standardised


@settings(max_examples=200)
@given(st.sets(st.binary(min_size=1, max_size=4).filter(lambda key: b"\0" not in key), max_size=20),
       st.lists(st.binary(min_size=1, max_size=8).filter(lambda key: b"\0" not in key), max_size=20))
def test_keys_are_found_where_they_are_when_their_lengths_differ(known, asked):
    vocabulary = np.array(sorted(known), dtype=f"S{max(map(len, known), default=1)}")
    found = look_up(vocabulary, np.array(asked, dtype="S8"))
    assert found.tolist() == [sorted(known).index(key) if key in known else -1 for key in asked]
    assert [look_up_one(vocabulary, key) for key in asked] == found.tolist()


def test_numbers_have_one_encoding_whether_they_came_in_32_or_64_bits():
    numbers = np.random.default_rng(0).normal(30, 500, 1000)
    assert (standardised(numbers, (31.7, 12.3)) == standardised(numbers.astype(np.float32), (31.7, 12.3))).all()
    assert (np.diff(standardised(np.sort(numbers), (31.7, 12.3))) >= 0).all()
    assert standardised(1e30, (0.0, 1e-9)) == 1e6
