"""Exploration: propensities against the frequencies of many draws, and answers that keep what the search promised."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.search.caps import Cap, Caps
from index_store.search.explain import Explanation
from index_store.search.exploration import (
    LEAST,
    PRIOR,
    explore,
    inclusion_probabilities,
    seed_of,
    systematic_sample,
    uncertainty,
)
from index_store.search.newcomers import Pool
from index_store.search.ranking import SearchResult

DRAWS = 4_000


def answer(places, newcomers, ecpm=False):
    """A search result of rows 0, 1, ... with a pool of the rows after them."""
    scores = -np.arange(places + newcomers, dtype=np.float32)
    logits, paid = np.stack([scores, scores], axis=1), 100.0 + scores if ecpm else None
    first, rest = slice(None, places), slice(places, None)
    pool = Pool(np.arange(places, places + newcomers), scores[rest], logits[rest],
                np.zeros((newcomers, 2), np.uint16), None if paid is None else paid[rest])
    return SearchResult(np.arange(places), scores[first], logits[first], (), places + newcomers,
                        ecpm=None if paid is None else paid[first], pool=pool)


def capped(values, most):
    values = np.array(values, np.int32)
    return Caps((Cap("brand", most, values, np.empty(0, np.int32)),))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), max_size=30), st.floats(0, 1))
def test_inclusion_probabilities_add_up_and_follow_the_weights(weights, share):
    weights = np.array(weights)
    expected = share * len(weights)
    found = inclusion_probabilities(weights, expected)
    assert found.sum() == pytest.approx(expected)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    open_ = found < 1 - 1e-9
    if open_.any() and expected:
        ratios = found[open_] / weights[open_]
        assert ratios == pytest.approx(ratios[0])
        assert (weights[~open_] * ratios[0] >= 1 - 1e-6).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sample_has_the_size_and_the_frequencies_of_its_probabilities(seed):
    random = np.random.default_rng(seed)
    inclusion = inclusion_probabilities(random.exponential(size=12) + 0.01, 3.4)
    counts = np.zeros(12)
    for _ in range(DRAWS):
        drawn = systematic_sample(inclusion, random)
        assert len(np.unique(drawn)) == len(drawn)
        assert len(drawn) in (3, 4)
        counts[drawn] += 1
    assert (np.abs(counts / DRAWS - inclusion) < 5 * np.sqrt(0.25 / DRAWS)).all()


@pytest.mark.parametrize("caps", [None, capped([0, 1, 2, 3, 4, 5, 0, 6, 6, 7, 8], 1)])
def test_propensity_is_the_share_of_the_answers_that_show_an_item(caps):
    """Over all items, at a share that gives 1.8 of 6 places away."""
    found, weights = answer(6, 5), np.array([5.0, 1.0, 2.0, 0.5, 0.1])
    random, shown, told = np.random.default_rng(0), np.zeros(11), None
    places = np.zeros((11, 6))
    for _ in range(DRAWS):
        explored = explore(found, weights, share=0.3, caps=caps, random=random)
        shown[explored.shown.rows] += 1
        places[explored.shown.rows, np.arange(6)] += 1
        now = np.array([explored.propensity(row) for row in range(11)])
        np.testing.assert_array_equal(explored.propensities, now[explored.shown.rows])
        assert told is None or np.array_equal(now, told)
        told = now
        if caps is not None:
            assert caps.passed(explored.shown.rows).all()
    assert (np.abs(shown / DRAWS - told) < 5 * np.sqrt(0.25 / DRAWS)).all()
    assert told.sum() == pytest.approx(6)
    assert told[:6] == pytest.approx(0.7)
    if caps is not None:  # the first of the pool shares a brand with row 0, the second and third with each other
        assert (told[[6, 7]] == 0).all()
    # At which place an explored item is has nothing to do with which one it is.
    assert (np.abs(places[6:] - places[6:].mean(axis=1, keepdims=True)) < 0.04 * DRAWS).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.floats(0, 0.5), st.integers(0, 99), st.booleans())
def test_answer_is_that_of_the_search_but_for_the_places_given_away(places, newcomers, share, seed, ecpm):
    found = answer(places, newcomers, ecpm)
    weights = np.random.default_rng(seed).exponential(size=newcomers) + 1e-3
    explored = explore(found, weights, share=share, caps=None, random=np.random.default_rng(seed))
    shown, given_away = explored.shown, explored.explored
    np.testing.assert_array_equal(shown.rows[~given_away], found.rows[~given_away])
    assert sorted(explored.displaced) == found.rows[given_away].tolist()
    assert np.isin(shown.rows[given_away], found.pool.rows).all()
    assert len(np.unique(shown.rows)) == places
    np.testing.assert_array_equal(shown.scores, -shown.rows)
    if ecpm:
        np.testing.assert_array_equal(shown.ecpm, 100.0 - shown.rows)
    assert abs(given_away.sum() - min(share * places, newcomers)) < 1
    assert (explored.propensities > 0).all()
    assert (found.rows == np.arange(places)).all()


def test_same_seed_draws_the_same_and_another_request_another():
    found, weights = answer(20, 30), np.ones(30)

    def rows(request_id, user_id=b"u"):
        random = np.random.default_rng(seed_of(request_id, user_id))
        return explore(found, weights, share=0.5, caps=None, random=random).shown.rows.tolist()

    assert rows("r-1") == rows("r-1")
    assert rows("r-1") != rows("r-2")
    assert rows("r-1") != rows("r-1", b"v")
    assert seed_of("r-1", b"u") == 0x206e3b3253544c61  # on every machine


def test_weight_is_the_deviation_of_the_posterior():
    """Against the moments of Beta(PRIOR p + clicks, PRIOR (1 - p) + impressions - clicks)."""
    pool = replace(answer(0, 4).pool, records=np.array([[0, 0], [50, 0], [50, 5], [5, 9]], np.uint16))
    p = np.array([0.1, 0.1, 0.1, 0.1])
    a, b = PRIOR * p + [0, 0, 5, 9], PRIOR * (1 - p) + [0, 50, 45, 0]
    expected = np.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    assert uncertainty(pool, p) == pytest.approx(expected)
    paying = replace(pool, ecpm=np.array([1.0, 2.0, 3.0, 1e9]))
    weights = uncertainty(paying, p)
    assert weights[3] == pytest.approx(expected[3] * 1e9 / 0.1)
    assert (weights[:3] == LEAST * weights[3]).all()


def test_explanation_says_who_came_and_who_went():
    explored = explore(answer(1, 1), np.ones(1), share=0.5, caps=None, random=np.random.default_rng(2))
    told = [explored.explained(row, Explanation("returned", (), None)).outcome for row in (0, 1)]
    assert told == (["displaced", "explored"] if explored.explored.any() else ["returned", "returned"])
    assert [explored.propensity(row) for row in (0, 1, 2)] == [0.5, 0.5, 0.0]
