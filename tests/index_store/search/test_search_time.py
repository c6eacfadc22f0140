"""The line of seconds against pairs."""

import numpy as np
import pytest

from index_store.search.search_time import SearchTime


def after(searches):
    time = SearchTime()
    for pairs, seconds in searches:
        time.observe(pairs, seconds)
    return time


def test_fixed_part_and_slope_are_found_when_beams_differ():
    pairs = np.random.default_rng(0).integers(300, 3000, 2000)
    time = after((int(p), 0.001 + 1e-6 * p) for p in pairs)
    for wanted in (500, 1000, 2500):
        assert time.pairs_within(0.001 + 1e-6 * wanted) == pytest.approx(wanted, rel=0.1)
    assert time.pairs_within(0.0005) < 0


def test_time_is_in_proportion_when_all_searches_were_alike():
    time = after([(1000, 0.002)] * 50)
    assert time.pairs_within(0.001) == pytest.approx(500)
    assert time.pairs_within(0.004) == pytest.approx(2000)


def test_recent_searches_count_when_the_machine_got_slower():
    time = after([(1000, 0.002)] * 500 + [(1000, 0.004)] * 500)
    assert time.pairs_within(0.004) == pytest.approx(1000, rel=0.01)


def test_everything_fits_when_nothing_was_timed():
    assert SearchTime().pairs_within(0.001) == float("inf")


def test_few_pairs_fit_little_time_when_noise_made_wide_searches_seem_faster():
    searches = after([(100, 1.0), (2000, 0.1)] * 20)
    assert searches.pairs_within(0.001) < 0 < searches.pairs_within(10.0)
