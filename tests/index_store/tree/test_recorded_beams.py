"""What a search kept, level by level, and the name of a tree that its recorded beams bear."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.search.beam_search import BeamSearch
from index_store.search.trace import kept_nodes
from index_store.tree.recorded_beams import RecordedBeams
from index_store.tree.tree import Tree, build_tree

TASK = np.ones(1, np.float32)


class Highest:
    """Prefers high node numbers, so that the beam keeps the last ones of each level."""

    ensemble = ()

    def score(self, query, level, nodes):
        return nodes[:, None].astype(np.float32)


@pytest.fixture
def tree():
    """27 items, 3 children a node: nodes of level 1 are 0 to 2, of level 2 0 to 8."""
    codes = np.stack([np.arange(27) // 9, np.arange(27) // 3], axis=1)
    return build_tree(codes, np.random.default_rng(0).normal(size=(27, 4)).astype(np.float32))


@pytest.mark.parametrize(("widths", "expected"), [
    ((1, 2), ([2], [7, 8], [25, 26])),
    ((3, 2), ([0, 1, 2], [7, 8], [25, 26])),
    ((3, 9), ([0, 1, 2], list(range(9)), [25, 26])),
    ((2, 6), ([1, 2], [3, 4, 5, 6, 7, 8], [25, 26]))])
def test_kept_nodes_are_those_of_the_beam_when_levels_are_scored_or_fit(tree, widths, expected):
    found = BeamSearch(tree, Highest()).search(None, top_k=2, beam_width=widths, task_weights=TASK, trace=True)
    kept = kept_nodes(tree, found.steps)
    assert [one.row(0).tolist() for one in kept] == list(expected)
    assert {one.values.dtype for one in kept} == {np.dtype(np.int32)}


def test_digest_is_the_same_for_equal_trees_of_any_dtype_and_another_when_one_item_moves(tree):
    wide = Tree(tree.rows.astype(np.int64), tuple(o.astype(np.int64) for o in tree.offsets), tree.representatives)
    swapped = tree.rows.copy()
    swapped[[0, 26]] = swapped[[26, 0]]
    flatter = Tree(tree.rows, tree.offsets[:1], tree.representatives[:1])
    others = [replace(tree, rows=swapped).digest, flatter.digest]
    assert wide.digest == tree.digest
    assert len({tree.digest, *others}) == 3
    assert len(tree.digest) == 64


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
