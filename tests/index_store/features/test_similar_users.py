"""The nearest users of random histories against plain loops; who is left out; and what is kept of a popular item."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.features.similar_users import MOST_CLICKERS, SimilarUsers
from tests.index_store.features.catalogues import similar_by_hand

KEYS = 9
HISTORY = st.sets(st.integers(1, KEYS - 1), max_size=5).map(sorted)


def of(histories):
    return SimilarUsers.of(Ragged.of(histories), KEYS)


def walked(similar, histories, most):
    """(item, similarity) of each item of each similar user, in order, by row of the histories."""
    walk, found = similar.walk(Ragged.of(histories), most, first=100), []
    for row in range(len(histories)):
        at = slice(*walk.bounds[row:row + 2])
        found.append(sorted((item, round(float(similarity), 4)) for user, similarity in
                            zip(walk.sources[at].tolist(), walk.of_sources[at], strict=True)
                            for item in walk.reach.row(user).tolist()))
    assert (walk.of_keys, walk.recencies, walk.first) == (None, None, 100)
    return found


def reached(similar, history, most):
    return walked(similar, [history], most)[0]


@settings(max_examples=150, deadline=None)
@given(st.lists(HISTORY, min_size=1, max_size=12), HISTORY, st.integers(1, 4))
def test_items_are_those_of_the_nearest_users_when_clicks_are_random(known, history, most):
    nearest = similar_by_hand(known, set(history), len(known))
    last = [similarity for similarity, _ in nearest[most - 1:most + 1]]
    assume(len(last) < 2 or last[0] - last[1] > 1e-4)  # either of two that are equally near may be taken
    expected = sorted((item, similarity) for similarity, user in nearest[:most] for item in known[user])
    found = reached(of(known), history, most)
    assert [item for item, _ in found] == [item for item, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-4)


def test_each_row_is_answered_as_if_it_were_alone():
    similar = of([[1, 2, 3], [2, 3, 4], [4, 5], [1, 6, 7]])
    rows = [[1, 2], [], [4], [3, 7]]
    assert walked(similar, rows, 2) == [reached(similar, history, 2) for history in rows]


def test_nobody_is_in_the_own_walk():
    similar = of([[1, 2, 3], [3, 4], [2]])
    assert {item for item, _ in reached(similar, [1, 2, 3], 5)} == {3, 4}, "the same clicks, or fewer, say nothing new"


def test_a_repeated_click_counts_once():
    once, twice = of([[1, 2], [2, 3]]), of([[1, 2, 2, 1], [3, 2, 3]])
    np.testing.assert_array_equal(once.weights, twice.weights)
    np.testing.assert_array_equal(once.lengths, twice.lengths)


def test_few_of_the_users_are_kept_when_many_clicked_an_item():
    many = MOST_CLICKERS + 50
    similar = of([[1, 2 + user % 3] for user in range(many)])
    assert similar.clickers.lengths[1] == MOST_CLICKERS
    assert len(np.unique(similar.clickers.row(1))) == MOST_CLICKERS
    assert similar.weights[1] == np.float32(1 / many)


def test_keys_without_clicks_are_as_long_as_keys_with_one():
    similar = of([[1, 2]])
    (_, alone), (_, with_unknown) = reached(similar, [1], 3)[0], reached(similar, [0, 1], 3)[0]
    assert with_unknown == pytest.approx(alone / np.sqrt(2), abs=1e-4), "an unknown key makes a history less similar"
