"""Recorded beams: the columns of their files, and beams of several parts."""

import numpy as np

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.tree.recorded_beams import RecordedBeams, columns


def test_a_file_has_a_column_for_each_level():
    assert columns(2) == ["dense", "categorical", "multi", "history", "level_1", "level_2"]


def test_joined_beams_keep_their_rows_when_some_are_empty():
    def part(ids, history, kept):
        n = len(ids)
        return RecordedBeams(Features(np.full((n, 1), 0.5, np.float32), np.array(ids, np.int32).reshape(n, 1),
                                      (Ragged.of([[i] * i for i in ids]),)), Ragged.of(history), (Ragged.of(kept),))

    whole = RecordedBeams.joined([part([1, 2], [[5], []], [[0], [1, 2]]), part([], [], []), part([0], [[7, 8]], [[]])])
    assert len(whole) == 3
    assert whole.features.categorical.ravel().tolist() == [1, 2, 0]
    assert [whole.features.multi[0].row(r).tolist() for r in range(3)] == [[1], [2, 2], []]
    assert [whole.history.row(r).tolist() for r in range(3)] == [[5], [], [7, 8]]
    assert [whole.kept[0].row(r).tolist() for r in range(3)] == [[0], [1, 2], []]
    assert whole.numbers == 3 + 3 + 3 + 3 + 3
