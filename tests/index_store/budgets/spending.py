"""Changes of campaigns and events that spend, as the log hands them out, and ads of campaigns."""

from dataclasses import replace

import numpy as np

from index_store.budgets.campaign import Campaign
from index_store.budgets.campaign_ads import CampaignAds
from index_store.changes.change_log import Change, Kind
from index_store.declaration.spec import FieldSpec
from tests.index_store.worlds import SPEC, catalogue

NOON = 1_772_712_000
"""Thursday, 2026-03-05, 12:00 UTC."""

MIDNIGHT = NOON - 12 * 3600
DAY = 86_400
UNIT = 10**9
"""Nanos of a unit of the currency."""


def numbered(changes):
    """Changes in the order of their times, with their sequence numbers."""
    return [replace(change, sequence=at) for at, change in enumerate(sorted(changes, key=lambda one: one.at), start=1)]


def campaign(name, budget, at=MIDNIGHT, time_zone="UTC", cap=None):
    """A campaign with a budget in units of the currency a day."""
    fields = Campaign.declared(daily_budget=None if budget is None else round(budget * 10**6), currency="EUR",
                               time_zone=time_zone, frequency_cap=cap).to_fields()
    return Change(sequence=0, at=at, kind=Kind.CAMPAIGN, id=name, fields=fields)


def spent(name, nanos, at, **fields):
    """A click that costs so much, written when it was made."""
    return Change(sequence=0, at=at, kind=Kind.EVENT, id="u", fields={
        "ad_id": "a", "type": "click", "campaign": name, "spent_nanos": nanos, **fields})


def late(name, nanos, written, at):
    """A click that was made at another time than it was written."""
    return replace(spent(name, nanos, written), fields={**spent(name, nanos, written).fields, "at": at})


def campaign_world(n=30):
    """Encoder, raw ads, features and tree of a catalogue whose ads have their campaigns in the field `brand`."""
    encoder, raw, features, tree = catalogue(0, n)
    fields = tuple(FieldSpec("brand", "categorical", "campaign") if field.name == "brand" else field
                   for field in SPEC.item_fields)
    return replace(encoder, spec=replace(encoder.spec, item_fields=fields)), raw, features, tree


def campaign_ads(names, of_tree, of_added=()):
    """Ads of campaigns, by name for each position; None for none."""
    encoder, _, features, tree = campaign_world()
    made = CampaignAds.of(encoder, features, tree.rows)
    numbers = [[0 if name is None else made.numbers.number(name) for name in ads] for ads in (of_tree, of_added)]
    for name in names:
        made.numbers.number(name)
    return replace(made, of_tree=np.array(numbers[0], np.int32), of_added=np.array(numbers[1], np.int32))
