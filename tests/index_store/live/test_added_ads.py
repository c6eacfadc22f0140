"""Rows of added ads: which one counts, and what is said about it."""

import numpy as np

from index_store.live.added_ads import AddedAds, Said
from index_store.live.withdrawals import Status, Withdrawal
from tests.index_store.live.changed import PlainArrivals
from tests.index_store.worlds import catalogue

ENCODER, _, FEATURES, TREE = catalogue(0, 30)
RAW = {"price": 1.0, "brand": "a", "tags": []}


def encoded(*prices):
    arrivals = PlainArrivals(ENCODER, FEATURES, TREE)
    return arrivals.encode([b""] * len(prices), [arrivals.features(RAW | {"price": price}) for price in prices])


def said(version, status=Status.ACTIVE, predicate=0):
    return Said(status=status, version=version, predicate=predicate)


def test_newest_row_of_an_ad_counts_and_keeps_what_is_said_later():
    first = AddedAds.first(TREE, [b"one", b"two"], encoded(1, 2), [said(1), said(2)])
    second = first.extended([b"one"], encoded(3), [said(3, predicate=4)])
    third = second.changed({1: said(4, Status.PAUSED), 2: said(5, predicate=6)})
    assert [rows.row(b"one") for rows in (first, second, third)] == [0, 2, 2]
    assert [rows.live.tolist() for rows in (first, second, third)] == [
        [True, True], [False, True, True], [False, False, True]]
    assert third.withdrawal(1) == Withdrawal(Status.PAUSED, 4)
    assert third.withdrawal(2) is None
    assert (second.predicates.tolist(), third.predicates.tolist()) == ([0, 0, 4], [0, 0, 6])
    assert third.rows_of(np.array([b"two", b"none", b"one"])).tolist() == [1, -1, 2]
    assert [third.ad_id(row) for row in range(3)] == [b"one", b"two", b"one"]
    assert third.changed({}) is third
    assert third.extended([], encoded(1), []) is third
