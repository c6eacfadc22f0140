"""Which side a user is on: always the same, in the share that was asked for, and independent of other draws."""

import zlib
from types import SimpleNamespace

import pytest

from service.bundles.sides import Canary, Sides
from service.contract.schemas import RetrieveRequest

USERS = [f"user-{number}".encode() for number in range(20_000)]


def host(name):
    """Stands for an open bundle: a side needs no more of it than its name."""
    return SimpleNamespace(release=SimpleNamespace(name=name))


def sides(share, name="green"):
    return Sides(host("red"), Canary(host(name), share))


def on_canary(of):
    return {key for key in USERS if of.of_user(key) is not of.current}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.93])
def test_share_of_users_is_the_one_asked_for(share):
    deviation = (share * (1 - share) / len(USERS)) ** 0.5
    assert abs(len(on_canary(sides(share))) / len(USERS) - share) < 4 * deviation


def test_all_users_are_on_the_canary_when_the_share_is_one():
    assert on_canary(sides(1.0)) == set(USERS)


def test_users_of_a_smaller_share_stay_when_it_grows():
    assert on_canary(sides(0.1)) < on_canary(sides(0.3))


@pytest.mark.parametrize("other", [
    lambda: on_canary(sides(0.5, "blue")), lambda: {key for key in USERS if zlib.crc32(key) < 2**31}])
def test_side_says_nothing_about_other_draws(other):
    both = len(on_canary(sides(0.5)) & other()) / len(USERS)
    assert abs(both - 0.25) < 0.02


def test_number_and_text_are_the_same_user():
    of = sides(0.5)
    for number in range(200):
        assert of.of(RetrieveRequest(user_id=number)) is of.of(RetrieveRequest(user_id=str(number)))


def test_features_decide_when_a_request_names_no_user():
    of = sides(0.5)
    asked = [{"age": number, "country": "x"} for number in range(200)]
    found = [of.of(RetrieveRequest(user_features=features)) for features in asked]
    turned = [of.of(RetrieveRequest(user_features=dict(reversed(features.items())))) for features in asked]
    assert found == turned
    assert 60 < sum(one is of.current for one in found) < 140


def test_current_bundle_answers_when_the_user_id_is_none_or_there_is_no_canary():
    of = sides(1.0)
    assert of.of(RetrieveRequest(user_id="")) is of.current
    alone = Sides(host("red"))
    assert alone.of(RetrieveRequest(user_id="u")) is alone.current
    assert alone.hosts == (alone.current,)
