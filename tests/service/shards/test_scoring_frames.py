"""Questions for logits: a query arrives as it was sent, and what asks for nothing is refused."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from service.shards.frames import HEAD, Frame, FrameError, Kind
from service.shards.scoring_frames import logits_frame, query_arrays, read_scoring, scoring_frame


@pytest.fixture(scope="module")
def query(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    return content.query(np.ones((1, 8), np.float32), content.users.features.take(np.array([3])),
                         np.array([1, 2, 3], np.int32))


def sent(frame):
    return Frame.unpacked(frame.packed()[HEAD.size:])


@pytest.mark.parametrize("spectral", [True, False])
def test_a_query_arrives_as_it_was_sent(query, spectral):
    if not spectral:
        query = type(query)(query.embedding, query.hits)
    read = read_scoring(sent(scoring_frame("c0ffee", 0.25, np.array([5, 3]), query_arrays(query))))
    assert (read.root, read.seconds, read.positions.tolist()) == ("c0ffee", 0.25, [5, 3])
    for name in ("indptr", "keys", "families", "values"):
        np.testing.assert_array_equal(getattr(read.query.hits, name), getattr(query.hits, name))
    np.testing.assert_array_equal(read.query.embedding, query.embedding)
    assert (read.query.spectral is None) == (not spectral)
    if spectral:
        for name in ("sums", "weighted", "scales", "history"):
            np.testing.assert_array_equal(getattr(read.query.spectral, name), getattr(query.spectral, name))


def test_frames_that_ask_for_nothing_are_refused(query):
    whole = scoring_frame("c0ffee", 1.0, np.arange(3), query_arrays(query)).arrays
    broken = [whole[:3], whole[:-1], (*whole, whole[-1]), [*whole[:4], whole[4][:-1], *whole[5:]],
              [*whole[:1], np.empty(0), *whole[2:]], [*whole[:-2], whole[-2][:, :2], whole[-1]],
              [*whole[:-2], whole[-2].astype(np.uint8), whole[-1]]]
    for arrays in broken:
        with pytest.raises(FrameError, match="it asks for no logits"):
            read_scoring(Frame(Kind.SCORE, arrays))


def test_logits_arrive_with_their_seconds():
    frame = sent(logits_frame(np.ones((2, 3), np.float32), 0.5))
    assert (frame.kind, frame.arrays[0].tolist(), frame.arrays[1].tolist()) == (Kind.LOGITS, [[1, 1, 1]] * 2, [0.5])
