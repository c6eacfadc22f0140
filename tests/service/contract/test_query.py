"""Queries and tower inputs."""

import hashlib
import struct

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from service.contract.query import Query, TowerInput


def digest(dense, *bags):
    return TowerInput(np.array([dense], np.float32),
                      {str(n): Ragged.of([np.array(bag, np.int64)]) for n, bag in enumerate(bags)}).digest()


def test_digest_is_the_same_on_every_machine_and_for_every_integer_type():
    content = struct.pack("<f", 1.5) + struct.pack("<iii", 2, 1, 2) + struct.pack("<ii", 1, 3)
    assert digest([1.5], [1, 2], [3]) == hashlib.blake2b(content, digest_size=16).digest()


@pytest.mark.parametrize("other", [([1.5], [1], [2, 3]), ([1.5], [1, 2, 3], []), ([1.5], [2, 1], [3]),
                                   ([-1.5], [1, 2], [3]), ([1.5], [1, 2]), ([1.5], [1, 2], [3, 3])])
def test_digest_differs_when_any_part_does(other):
    assert digest(*other) != digest([1.5], [1, 2], [3])


def test_fields_of_a_query_cannot_be_mixed_up_by_their_order():
    with pytest.raises(TypeError):
        Query(b"u", 1, np.ones(1, np.float32))
