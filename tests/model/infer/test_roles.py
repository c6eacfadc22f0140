"""Roles of columns, by the names that public logs have."""

import pyarrow as pa
import pytest

from index_store.declaration.values import FeatureError
from model.infer.reading import read_frames
from model.infer.roles import NONE, Given, best_id, find_roles, plain
from tests.model.infer.tables import told


def roles(*names, given=None, **columns):
    log = read_frames({"events": pa.table({**{name: [1, 2, 3] for name in names}, **columns})})
    return find_roles(log, given or Given())


@pytest.mark.parametrize(("names", "user", "ad", "time"), [
    (("userId", "movieId", "rating", "timestamp"), "userId", "movieId", "timestamp"),
    (("timestamp", "visitorid", "event", "itemid", "transactionid"), "visitorid", "itemid", "timestamp"),
    (("user", "time_stamp", "adgroup_id", "pid", "ad_id"), "user", "ad_id", None),
    (("ip", "app", "device", "os", "channel"), None, "app", None),
    (("session_id", "article_id", "ts"), "session_id", "article_id", "ts"),
    (("customer_id", "article_id", "price"), "customer_id", "article_id", None),
    (("reviewerID", "asin", "overall", "unixReviewTime"), "reviewerID", "asin", None),
    (("USER ID", "Product ID", "order"), "USER ID", "Product ID", None),
    (("user_id", "target_user_id", "business_id"), "user_id", "business_id", None)])
def test_the_columns_of_public_logs_are_known_by_their_names(names, user, ad, time):
    found, _ = roles(*names)
    assert (found.user, found.ad, found.time) == (user, ad, time)


def test_what_is_given_is_taken_and_said():
    found, guesses = roles("a", "b", "c", given=Given(user=NONE, ad="b", time="c"))
    assert (found.user, found.ad, found.time) == (None, "b", "c")
    assert told(guesses, "ad_id") == ("b", "you said so")


def test_a_session_is_told_to_be_no_person():
    assert "A session is not a person" in told(roles("session_id", "item_id")[1], "user_id")[1]


def test_dates_order_events_and_the_order_within_a_day_is_told():
    found, guesses = roles("user_id", "item_id", day=pa.array(["2024-01-01", "2024-01-02", "2024-01-02"]))
    assert found.time == "day"
    assert told(guesses, "timestamp")[1].endswith("events of one day keep their order in the table")


@pytest.mark.parametrize(("columns", "why"), [
    ({"hour": [5, 6, 5]}, "no column"),
    ({"ts": [5, 5, 5]}, "'ts' is 5 throughout"), ({"ts": [1, None, 3]}, "no column without gaps"), ({}, "no column")])
def test_a_log_without_times_says_why_it_has_none(columns, why):
    found, guesses = roles("user_id", "item_id", **columns)
    assert found.time is None
    assert why in told(guesses, "timestamp")[1]


@pytest.mark.parametrize(("given", "says"), [
    (Given(user="x"), "has no column 'x'"), (Given(user="item_id"), "is given as user id and as ad id"),
    (Given(ad="item_id", user="item_id"), "is given as user id and as ad id"),
    (Given(time="city"), "events: column 'city', row 0: value 'a' is text, and no time")])
def test_what_cannot_be_is_refused(given, says):
    given = given if given.ad else Given(user=given.user, ad="item_id", time=given.time)
    with pytest.raises(FeatureError, match=says):
        roles("user_id", "item_id", city=["a", "b", "c"], given=given)


def test_the_id_of_a_table_is_unique():
    log = read_frames({"ads": pa.table({"id": [1, 2], "item": [3, 3], "sku": ["a", "b"]}),
                       "users": pa.table({"name": ["a", "a"]}), "events": pa.table({"a": [1]})})
    assert best_id(log.columns["ads"], "ads") == "sku"
    assert best_id(log.columns["users"], "users") is None


@pytest.mark.parametrize(("name", "found"), [
    ("movieId", "movie_id"), ("Movie ID", "movie_id"), ("movie_id:token", "movie_id"), ("..ip", "ip"), ("é", "")])
def test_names_are_compared_in_a_plain_form(name, found):
    assert plain(name) == found
