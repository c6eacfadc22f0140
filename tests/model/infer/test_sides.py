"""Whose a column is, by how often two events of one user or ad agree in it."""

import numpy as np
import pyarrow as pa
import pytest

from model.infer.reading import read_frames
from model.infer.roles import Roles
from model.infer.sides import agreement, find_sides
from tests.model.infer.tables import told

N = 600


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(3)
    user, ad = rng.integers(0, 30, N), rng.integers(0, 20, N)
    price = rng.integers(1, 90, 20)[ad]
    once = rng.permutation(N)[:N // 25]
    changed = price.copy()
    changed[once] += 1
    return read_frames({"events": pa.table({
        "u": user, "a": ad, "home": rng.integers(0, 4, 30)[user], "price": changed, "hour": rng.integers(0, 24, N),
        "user_rare": (user == 7).astype(int), "note": ["same"] * N, "ip": np.arange(N)})})


def test_agreement_is_one_for_attributes_and_zero_by_chance(log, tolerance=0.05):
    assert agreement(log, "u", "home") == 1
    assert agreement(log, "a", "home") == pytest.approx(0, abs=tolerance)
    assert agreement(log, "u", "hour") == pytest.approx(0, abs=tolerance)
    assert 0.8 < agreement(log, "a", "price") < 0.97
    assert agreement(log, "u", "user_rare") == 1
    assert agreement(log, "ip", "home") is None


def test_columns_are_the_users_the_ads_or_of_the_moment(log):
    sides, guesses = find_sides(log, Roles(user="u", ad="a", time=None), ())
    assert [c.name for c in sides.user] == ["home", "user_rare"]
    assert [c.name for c in sides.ad] == ["price"]
    assert [c.name for c in sides.moment] == ["hour", "note", "ip"]
    assert "the latest value is taken" in told(guesses, "price")[1]
    assert list(sides.context) == ["hour", "ip"]
    assert sides.context["hour"] == "two events of a user agree 0%, of an ad 0% beyond chance"


def test_a_place_in_the_answer_is_nobodys_where_there_are_no_users():
    log = read_frames({"events": pa.table({"a": [1, 2] * 20, "position": [1, 2, 3, 4] * 10, "os": [1, 3, 2, 4] * 10})})
    sides, _ = find_sides(log, Roles(user=None, ad="a", time=None), ())
    assert [c.name for c in sides.user] == ["os"]
    assert list(sides.context) == ["position"]


def test_without_users_what_is_not_the_ads_is_of_whoever_asks(log):
    sides, _ = find_sides(log, Roles(user=None, ad="a", time=None), ("ip",))
    assert [c.name for c in sides.user] == ["u", "home", "hour", "user_rare"]
    assert [c.name for c in sides.ad] == ["price"]


def test_names_decide_where_a_log_is_too_small_to_tell():
    log = read_frames({"events": pa.table({"u": [1, 2], "a": [1, 2], "gender": ["f", "m"], "item_colour": ["x", "y"]})})
    sides, _ = find_sides(log, Roles(user="u", ad="a", time=None), ())
    assert ([c.name for c in sides.user], [c.name for c in sides.ad]) == (["gender"], ["item_colour"])
