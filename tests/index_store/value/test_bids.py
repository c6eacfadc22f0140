"""Bids: what is refused, and that changed ones read as a plain list does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.declaration.values import FeatureError
from index_store.value import bids as module
from index_store.value.bids import BID_TYPES, AdBids, Bid, parse_bid


def test_bid_is_read_and_written():
    raw = {"micros": 250_000, "type": "CPC"}
    assert parse_bid(raw, ["CPM", "CPC"]) == Bid(250_000, "CPC")
    assert parse_bid(raw, ["CPC"]).to_json() == raw


@pytest.mark.parametrize(("raw", "said"), [
    (5, "bid is 5; give micros and type"), ({"micros": 5}, "bid is {'micros': 5}; give micros and type"),
    ({"micros": 5, "type": "CPM", "currency": "EUR"}, "'EUR'"),
    ({"micros": -5, "type": "CPM"}, "bid.micros is -5, outside 1..1000000000000; give"),
    ({"micros": 0, "type": "CPM"}, "bid.micros is 0, outside"),
    ({"micros": 10**12 + 1, "type": "CPM"}, "bid.micros is 1000000000001, outside"),
    ({"micros": 1.5, "type": "CPM"}, "bid.micros is 1.5, of type float"),
    ({"micros": float("nan"), "type": "CPM"}, "bid.micros is nan"),
    ({"micros": True, "type": "CPM"}, "bid.micros is True"), ({"micros": "5", "type": "CPM"}, "bid.micros is '5'"),
    ({"micros": 5, "type": "cpm"}, "bid.type is 'cpm'; use one of CPM, CPC"),
    ({"micros": 5, "type": ["CPM"]}, "bid.type is ['CPM']"),
    ({"micros": 5, "type": "CPA"}, "bid.type is CPA, but no task declares this bid_type; use one of CPM, CPC")])
def test_bid_is_refused_with_both_values(raw, said):
    with pytest.raises(FeatureError) as refusal:
        parse_bid(raw, ["CPM", "CPC"])
    assert said in str(refusal.value)
    assert refusal.value.name == "bid"


BIDS = st.none() | st.builds(Bid, st.integers(1, 10**12), st.sampled_from(BID_TYPES))


@given(st.lists(BIDS, max_size=9), st.lists(st.dictionaries(st.integers(0, 8), BIDS, max_size=5), max_size=4))
def test_changed_bids_read_as_in_a_list(first, changes):
    plain, bids = [*first], AdBids.of(first)
    for change in changes:
        change = {at: bid for at, bid in change.items() if at < len(plain)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_MOST_CHANGED", 3)
            before, bids = bids, bids.replaced(change)
        assert [before.bid(at) for at in range(len(plain))] == plain
        for at, bid in change.items():
            plain[at] = bid
        bids, plain = bids.extended([None]), [*plain, None]
        assert [bids.bid(at) for at in range(len(plain))] == plain
        assert [values.tolist() for values in bids.whole] == [
            values.tolist() for values in AdBids.of(plain).whole]


def test_nothing_is_copied_when_no_bid_changes():
    bids = AdBids.none(3)
    assert bids.replaced({}) is bids
    assert np.shares_memory(bids.replaced({1: Bid(5, "CPM")}).micros, bids.micros)
