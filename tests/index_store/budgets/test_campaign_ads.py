"""Campaign ads: numbers of the bundle's campaigns and of those that it has never seen."""

from dataclasses import replace

import numpy as np

from index_store.budgets.campaign_ads import NO_CAMPAIGN, CampaignAds, CampaignNumbers
from tests.index_store.budgets.spending import campaign_ads, campaign_world
from tests.index_store.worlds import catalogue

ENCODER, RAW, FEATURES, TREE = campaign_world()


def test_ads_have_the_campaigns_that_their_field_names():
    ads = CampaignAds.of(ENCODER, FEATURES, TREE.rows)
    for position, row in enumerate(TREE.rows.tolist()):
        brand = RAW[row]["brand"]
        assert ads.name_at(position) == (None if brand is None else str(brand))
        assert ads.number_of(RAW[row]) == ads.at(position)
    assert ads.positions("a").tolist() == [at for at, row in enumerate(TREE.rows.tolist()) if RAW[row]["brand"] == "a"]


def test_there_are_none_without_the_role():
    encoder, _, features, tree = catalogue(0, 30)
    assert CampaignAds.of(encoder, features, tree.rows) is None


def test_new_campaigns_get_numbers_of_their_own():
    numbers = CampaignNumbers(np.array([b"a", b"b"]))
    assert [numbers.number(name) for name in ("b", "new", "a", "newer", "new")] == [2, 3, 1, 4, 3]
    assert (numbers.name(3), len(numbers)) == ("new", 5)
    ads = CampaignAds.of(ENCODER, FEATURES, TREE.rows)
    assert ads.number_of({"brand": None}) == ads.number_of({}) == NO_CAMPAIGN
    assert ads.numbers.name(ads.number_of({"brand": "never seen"})) == "never seen"
    assert ads.number_of({"brand": 1}) == ads.numbers.number("1")


def test_ads_beyond_the_tree_and_changed_ones_count():
    ads = campaign_ads("xy", ["x", None, "y"], ["y", None])
    assert ads.positions("y").tolist() == [2, 3]
    assert [ads.name_at(position) for position in range(5)] == ["x", None, "y", "y", None]
    changed = ads.changed({1: ads.numbers.number("y")}, ads.of_added)
    assert changed.positions("y").tolist() == [1, 2, 3]
    assert ads.positions("y").tolist() == [2, 3]
    assert changed.changed({}, changed.of_added.copy()) is changed
    assert replace(ads, of_added=ads.of_added[:0]).positions("y").tolist() == [2]
