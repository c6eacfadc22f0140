"""Records of a user's pairs: read as they were written, and by nobody else."""

import numpy as np
import pytest

from index_store.speculation.user_pairs import UserPairs

KEY = b"speculated:1:bundle:user"


@pytest.fixture
def pairs():
    return UserPairs(np.array([3, 7, 250], np.uint32), np.arange(-6, 6, dtype=np.int8).reshape(3, 4), 123.5, 3600)


def test_a_record_is_read_as_it_was_written(pairs):
    found = UserPairs.unpacked(KEY, pairs.packed(KEY), 4, 251)
    assert found.positions.tolist() == [3, 7, 250]
    assert found.codes.tolist() == pairs.codes.tolist()
    assert (found.made_at, found.lives) == (123.5, 3600)


@pytest.mark.parametrize("at", [0, 4, 6, 20, 30, -1])
def test_a_record_is_refused_when_a_byte_differs(pairs, at):
    record = bytearray(pairs.packed(KEY))
    record[at] ^= 1
    assert UserPairs.unpacked(KEY, bytes(record), 4, 251) is None


def test_a_record_is_refused_under_another_key_width_or_bundle_and_when_it_is_cut(pairs):
    record = pairs.packed(KEY)
    assert UserPairs.unpacked(KEY + b"x", record, 4, 251) is None
    assert UserPairs.unpacked(KEY, record, 5, 251) is None
    assert UserPairs.unpacked(KEY, record, 4, 250) is None, "position 250 is not of 250 ads"
    assert UserPairs.unpacked(KEY, record[:-1], 4, 251) is None
    assert UserPairs.unpacked(KEY, b"", 4, 251) is None


def test_a_record_is_refused_when_positions_do_not_ascend_or_there_are_none(pairs):
    for positions in ([7, 3, 250], [3, 3, 250]):
        record = UserPairs(np.array(positions, np.uint32), pairs.codes, 1.0, 1).packed(KEY)
        assert UserPairs.unpacked(KEY, record, 4, 251) is None
    nothing = UserPairs(np.empty(0, np.uint32), np.empty((0, 4), np.int8), 1.0, 1).packed(KEY)
    assert UserPairs.unpacked(KEY, nothing, 4, 251) is None
