"""Taking the best of many scores, and what a result says of itself."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.ranking import SearchResult, best, first_task_weights


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("nan")]), min_size=1, max_size=30), st.integers(1, 35),
       st.randoms(use_true_random=False))
def test_the_best_are_those_of_sorting_when_scores_tie_or_are_nan(scores, k, random):
    nodes = list(range(len(scores)))
    random.shuffle(nodes)
    found = best(np.array(scores, np.float32), np.array(nodes), k).tolist()
    order = sorted(range(len(scores)), key=lambda at: (-scores[at] if scores[at] == scores[at] else np.inf, nodes[at]))
    assert sorted(found) == sorted(order[:k])


def test_the_first_task_alone_ranks_when_no_weights_are_given():
    weights = first_task_weights(3)
    assert (weights.tolist(), weights.dtype) == ([1.0, 0.0, 0.0], np.float32)


@pytest.mark.parametrize(("rows", "truth", "share"), [([1, 2, 3, 4], [2, 4, 9], 2 / 3), ([1], [], 1.0), ([], [1], 0.0)])
def test_overlap_is_the_share_of_the_truth_that_was_found(rows, truth, share):
    def result(of):
        n = len(of)
        return SearchResult(np.array(of, np.int64), np.zeros(n, np.float32), np.zeros((n, 1), np.float32), (), 9)

    assert result(rows).overlap(result(truth)) == pytest.approx(share)


def test_a_result_is_narrowed_when_it_covers_less_than_was_planned():
    nothing = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty((0, 1), np.float32), (), 0)
    assert not SearchResult(*nothing).narrowed
    assert SearchResult(*nothing, coverage=0.99).narrowed
