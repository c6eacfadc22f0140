"""A world that moves: as many ads end as are born, interests drift, and the log shows what was planted."""

import numpy as np
import pytest

from model.sources.draws import Draws
from model.sources.moving_world import CONVERSION_SECONDS, DAY_SECONDS, DRIFT, SURFACES, MovingWorld, looked_at
from model.sources.synthetic import FIRST_SECOND
from model.sources.world import RECENT_CLICKS

ADS, USERS, EVENTS, TURNOVER = 2_000, 4_000, 150_000, 0.03


@pytest.fixture(scope="module")
def moving():
    """A world after a day, a night and another day: the world, the log of the second day, and the night's move."""
    world = MovingWorld(Draws(3), ADS, USERS, TURNOVER)
    first = world.impressions(0, EVENTS)
    before = world.people, world.active
    move = world.move(1)
    return world, (first, world.impressions(1, EVENTS)), before, move


def test_as_many_ads_are_born_as_end_and_only_active_ones_are_shown(moving):
    world, (first, second), (_, active), move = moving
    assert len(move.ended) == len(move.born) == TURNOVER * ADS
    assert np.isin(move.ended, active).all()
    assert np.array_equal(move.born, ADS + np.arange(len(move.born)))
    assert np.array_equal(np.sort(world.active), world.active)
    assert set(world.active) == (set(active) - set(move.ended)) | set(move.born)
    assert len(world.ads.category) == ADS + len(move.born)
    assert np.isin(first["ad"], active).all()
    assert set(second["ad"]) <= set(world.active)
    assert np.isin(move.born, second["ad"]).mean() > 0.9


def test_interests_drift_a_little_and_take_their_brands_along(moving):
    world, _, (people, _), _ = moving
    changed = world.people.interests != people.interests
    assert changed.mean() == pytest.approx(DRIFT, rel=0.2)
    assert (world.people.departments == world.people.interests % world.shape.departments).all()
    assert (world.people.brands % world.shape.departments == world.people.departments).all()
    assert not (world.people.brands != people.brands)[world.people.departments == people.departments].mean() > DRIFT


def test_events_lie_in_their_day_in_order_of_user_and_time(moving):
    for day, log in enumerate(moving[1]):
        start = FIRST_SECOND + (9 + day) * DAY_SECONDS
        assert start <= log["timestamp"].min() < log["timestamp"].max() < start + DAY_SECONDS
        same_user = np.diff(log["user"]) == 0
        assert (np.diff(log["user"]) >= 0).all()
        assert (np.diff(log["timestamp"])[same_user] >= 0).all()


def test_the_log_shows_how_often_each_position_is_looked_at(moving, within=0.09):
    logs = moving[1]
    placement, position, click = (np.concatenate([log[name] for log in logs])
                                  for name in ("placement", "position", "click"))
    first = click[position == 1].mean()
    for at, surface in enumerate(SURFACES.values()):
        assert (placement == at).mean() == pytest.approx(surface.share, abs=0.01)
        assert position[placement == at].max() == surface.positions
        for k in range(1, surface.positions + 1):
            here = (placement == at) & (position == k)
            assert click[here].mean() / first == pytest.approx(k ** -surface.fall, abs=within)
    assert click.mean() / first == pytest.approx(looked_at(), abs=0.03)


def test_conversions_follow_their_clicks_after_a_day_on_average(moving):
    for log in moving[1]:
        converted = log["conversion"]
        assert (converted <= log["click"]).all()
        assert (log["conversion_at"][~converted] == 0).all()
        delay = log["conversion_at"][converted] - log["timestamp"][converted]
        assert delay.min() >= 1
        assert delay.mean() == pytest.approx(CONVERSION_SECONDS, rel=0.1)
        assert np.median(delay) == pytest.approx(CONVERSION_SECONDS * np.log(2), rel=0.15)


def test_recent_clicks_are_the_last_ones_first_and_count_from_the_next_day_on(moving):
    world, (first, second), (people, _), _ = moving
    for log, found in ((first, people.recent), (second, world.people.recent)):
        clicked = log["click"]
        for user in np.unique(log["user"][clicked])[:300]:
            own = world.ads.category[log["ad"][clicked & (log["user"] == user)]][::-1]
            assert found[user, :len(own)].tolist() == own[:RECENT_CLICKS].tolist()
    quiet = np.setdiff1d(np.arange(USERS), second["user"][second["click"]])
    assert np.array_equal(people.recent[quiet], world.people.recent[quiet])
    one = np.flatnonzero(np.bincount(second["user"][second["click"]], minlength=USERS) == 1)
    assert np.array_equal(people.recent[one, :-1], world.people.recent[one, 1:])


def test_a_world_without_turnover_keeps_its_ads():
    world = MovingWorld(Draws(3), 50, 20, 0.0)
    move = world.move(1)
    assert not len(move.ended)
    assert not len(move.born)
    assert len(world.active) == len(world.ads.category) == 50
