"""Frames: read as they were packed, aligned, and refused if they are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.shards.frames import HEAD, LARGEST, Frame, FrameError, Kind, length_of

SOME = arrays(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]),
              array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9), elements=st.integers(0, 200))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Kind), st.lists(SOME, max_size=6))
def test_frames_are_read_as_they_were_packed(kind, given_arrays):
    packed = Frame(kind, given_arrays).packed()
    assert length_of(packed[:HEAD.size]) == len(packed) - HEAD.size
    read = Frame.unpacked(packed[HEAD.size:])
    assert read.kind is kind
    for found, expected in zip(read.arrays, given_arrays, strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_values_begin_at_multiples_of_eight():
    packed = Frame(Kind.SCORE, (np.full(3, 7, np.uint8), np.array([1.5]))).packed()
    assert packed.index(np.array([1.5]).tobytes()) % 8 == 0


def test_text_survives():
    frame = Frame.unpacked(Frame.of_text(Kind.REFUSED, "nö").packed()[HEAD.size:])
    assert (frame.kind, frame.text) == (Kind.REFUSED, "nö")
    assert Frame(Kind.REFUSED).text == ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_frame_are_refused_and_nothing_else(body):
    try:
        frame = Frame.unpacked(body)
    except FrameError:
        return
    assert isinstance(frame.kind, Kind)


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_frame_that_was_cut_or_goes_on_is_refused(cut):
    body = Frame(Kind.LOGITS, (np.arange(9.0),)).packed()[HEAD.size:]
    with pytest.raises(FrameError, match="bytes are no frame"):
        Frame.unpacked(body[:-cut])
    with pytest.raises(FrameError, match="its arrays end at"):
        Frame.unpacked(body + bytes(cut))


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read():
    with pytest.raises(FrameError, match="was announced, at most 67,108,864 are allowed"):
        length_of(HEAD.pack(LARGEST + 1))
    assert length_of(HEAD.pack(LARGEST)) == LARGEST
