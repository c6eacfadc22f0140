"""A population by what the ads of a made-up library ask for."""

import numpy as np
import pytest

from index_store.targeting.geography import Circle
from model.sources.draws import Draws
from model.sources.population import AGES, PLACE_KNOWN, SPREAD, Population
from model.sources.snap_ads import SnapAds
from tests.index_store.worlds import kilometres
from tests.model.sources.snap import write_ads

USERS = np.arange(3_000)


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    return Population(SnapAds.read(write_ads(tmp_path_factory.mktemp("snap"))).rows, Draws(0))


def test_values_are_as_frequent_as_the_ads_ask_for_them(population):
    table = population.people(USERS).table.to_pydict()
    for name, expected in {"sex": {"FEMALE": 1}, "country": {"lemuria": 7 / 8, "atlantis": 1 / 8}}.items():
        for value, share in expected.items():
            assert table[name].count(value) / len(USERS) == pytest.approx(share, abs=0.03)
    assert set(map(tuple, table["audiences"])) == {(), ("Provided by Advertiser",)}
    assert sum(map(len, table["audiences"])) / len(USERS) == pytest.approx(1 / 8, abs=0.03)
    assert {value for values in table["lifestyles"] for value in values} == {"Sailors", "Divers"}
    of_lemuria = [state for state, country in zip(table["state"], table["country"], strict=True)
                  if country == "lemuria"]
    assert of_lemuria.count("North") / len(of_lemuria) == pytest.approx(0.5, abs=0.04)
    assert {state for state, country in zip(table["state"], table["country"], strict=True)
            if country == "atlantis"} == {None}
    # Two brackets of 17 ages each, one of 31 and one of 5.
    assert np.mean([18 <= years <= 34 for years in table["years"]]) == pytest.approx(2 / 4, abs=0.03)
    assert AGES[0] <= min(table["years"]) <= max(table["years"]) <= AGES[-1]


def test_positions_lie_near_the_circles_of_the_country(population):
    people = population.people(USERS)
    known = ~np.isnan(people.places[:, 0])
    countries = np.array(people.table["country"].to_pylist())
    assert known[countries == "lemuria"].mean() == pytest.approx(PLACE_KNOWN, abs=0.03)
    assert not known[countries == "atlantis"].any()
    centre = Circle(10.5, -20.25, 5.0)
    apart = [kilometres({"lat": lat, "lon": lon}, centre._asdict()) for lat, lon in people.places[known]]
    assert max(apart) <= SPREAD * centre.km * 1.01
    assert np.mean(np.array(apart) <= centre.km) == pytest.approx(1 / SPREAD**2, abs=0.04)


def test_users_are_the_same_whichever_others_are_drawn(population):
    few, all_of_them = population.people(np.arange(40, 60)), population.people(np.arange(100))
    assert few.table.equals(all_of_them.table.slice(40, 20))
    np.testing.assert_array_equal(few.places, all_of_them.places[40:60])


def test_users_are_contexts_without_what_is_unknown(population):
    for context in population.people(np.arange(50)).contexts():
        assert None not in context.values()
        assert set(context.get("place", {"lat": 0, "lon": 0})) == {"lat", "lon"}
