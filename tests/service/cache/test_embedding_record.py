import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.cache.embedding_record import pack, unpack

embeddings = arrays.arrays(np.float32, st.tuples(st.just(1), st.integers(1, 20)))


@given(st.binary(), embeddings)
def test_embedding_is_the_same_to_the_bit_when_unpacked(key, embedding):
    found = unpack(key, pack(key, embedding), embedding.size)
    assert (found.dtype, found.shape, found.tobytes()) == (np.float32, embedding.shape, embedding.tobytes())


@given(embeddings, st.data())
def test_record_is_refused_when_any_bit_is_flipped(embedding, data):
    record = bytearray(pack(b"key", embedding))
    bit = data.draw(st.integers(0, 8 * len(record) - 1))
    record[bit // 8] ^= 1 << bit % 8
    assert unpack(b"key", bytes(record), embedding.size) is None


@given(st.binary(max_size=200), st.integers(1, 20))
def test_bytes_are_refused_when_pack_did_not_write_them(record, dimension):
    assert unpack(b"key", record, dimension) is None


@pytest.mark.parametrize(("key", "dimension"), [(b"other", 3), (b"key", 2), (b"key", 4)])
def test_record_is_refused_when_key_or_dimension_differ(key, dimension):
    assert unpack(key, pack(b"key", np.ones((1, 3), np.float32)), dimension) is None
