"""Campaigns: what can be declared, and that it comes back from the log as it was."""

import pytest

from index_store.budgets.campaign import Campaign, FrequencyCap, zone_of
from index_store.declaration.values import FeatureError

GOOD = {"daily_budget": 5_000_000, "currency": "EUR", "time_zone": "Europe/Berlin",
        "frequency_cap": {"impressions": 3, "hours": 24}}


def test_campaign_comes_back_from_its_fields():
    campaign = Campaign.declared(**GOOD)
    assert campaign.budget_nanos == 5 * 10**9
    assert campaign.frequency_cap == FrequencyCap(3, 24)
    without = Campaign.declared(**GOOD | {"daily_budget": None, "frequency_cap": None})
    assert without.budget_nanos is None
    for one in (campaign, without):
        assert Campaign.of_fields(one.to_fields()) == one


@pytest.mark.parametrize(("bad", "fact"), [
    ({"daily_budget": -1}, "is -1, outside 0..1000000000000000"), ({"daily_budget": 10**15 + 1}, "outside 0.."),
    ({"currency": "euro"}, "'euro', not three capital letters"), ({"currency": ""}, "not three"),
    ({"time_zone": "Mars/Olympus"}, "'Mars/Olympus', which the database"), ({"time_zone": "/etc/passwd"}, "database"),
    ({"time_zone": "../x"}, "database"), ({"time_zone": "Europe"}, "database"), ({"time_zone": ""}, "database"),
    ({"frequency_cap": {"impressions": 0, "hours": 1}}, "impressions is 0, not an integer of 1..100"),
    ({"frequency_cap": {"impressions": 1, "hours": 169}}, "hours is 169, not an integer of 1..168"),
    ({"frequency_cap": {"impressions": True, "hours": 1}}, "impressions is True"),
    ({"frequency_cap": {"impressions": 1.5, "hours": 1}}, "impressions is 1.5"),
    ({"frequency_cap": {"impressions": 1}}, "give impressions and hours"), ({"frequency_cap": 3}, "is 3")])
def test_campaign_is_refused_with_what_was_found_when_it_cannot_be(bad, fact):
    with pytest.raises(FeatureError) as caught:
        Campaign.declared(**GOOD | bad)
    assert fact in str(caught.value)


def test_zone_is_none_when_nobody_knows_it():
    assert zone_of("UTC")
    assert zone_of("Nowhere/At_All") is None
