"""Logged answers: what is read from change logs and tables, and what is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.changes.change_log import Kind, Write
from index_store.changes.open_log import open_log
from model.data.tables import DataError
from model.evaluation.logged_answers import ABSENT, read_logged_answers


def event(user, ad, kind, request=None, **more):
    given = {"request_id": request, **more}
    return Write(kind=Kind.EVENT, id=user, fields={"ad_id": ad, "type": kind} | {
        name: value for name, value in given.items() if value is not None})


def bid(ad, micros):
    return Write(kind=Kind.AD, id=ad, fields={"bid": None if micros is None else {"micros": micros, "type": "CPC"}})


def written(tmp_path, *writes):
    where = str(tmp_path / "changes.sqlite3")
    log = open_log(where, "")
    log.append(writes)
    log.close()
    return where


def test_labels_and_bids_are_those_of_the_request_and_the_time(tmp_path):
    found = read_logged_answers(written(
        tmp_path, bid("a", 5), event("u", "a", "click", "r2"),
        event("u", "a", "impression", "r2", propensity=0.5), event("u", "b", "impression", "r2", propensity=0.25,
                                                                   explored=True),
        event("u", "b", "conversion", "r2"), event("u", "b", "click", "r3"), bid("a", None),
        event("v", "a", "impression", "r1", propensity=1.0), event("v", "a", "impression", "r1", propensity=1.0),
        event("v", "a", "impression", "r2", propensity=0.9),  # an id that two users share names two answers
        event("w", "a", "impression", "plain"), event("w", "a", "impression"), event("w", "a", "impression")))
    assert found.users.tolist() == [b"v", b"u", b"v"]
    assert found.answers.tolist() == [0, 1, 1, 2]
    assert found.ads.tolist() == [b"a", b"a", b"b", b"a"]
    assert found.propensities.tolist() == [1.0, 0.5, 0.25, 0.9]
    assert found.explored.tolist() == [False, False, True, False]
    assert {task: of.tolist() for task, of in found.rewards.items()} == {
        "click": [0, 1, 0, 0], "conversion": [0, 0, 1, 0]}
    assert found.bids == [None, {"micros": 5, "type": "CPC"}, ABSENT, None]
    assert found.left_out == 3


@pytest.mark.parametrize(("writes", "said"), [
    ([event("u", "a", "impression", "r")], r"has 1 impressions, none of them with a propensity; ask for ads with"),
    ([], r"has 0 impressions, none"),
    ([event("u", "a", "impression", "r", propensity=0.5), event("u", "b", "impression", "r")],
     r"has 1 impressions, of the 2 of answers that explored, whose propensity is missing .* None of ad b in request")])
def test_log_is_refused_when_propensities_are_missing(tmp_path, writes, said):
    where = written(tmp_path, *(writes or [event("u", "a", "click", "r")]))
    with pytest.raises(DataError, match=said):
        read_logged_answers(where)


def table(tmp_path, **columns):
    path = tmp_path / "events.parquet"
    given = {"user_id": ["u", "u"], "ad_id": ["a", "b"], "request_id": ["r", "r"], "propensity": [0.5, 1.0],
             "reward": [1.5, 0.0]} | columns
    pq.write_table(pa.table({name: values for name, values in given.items() if values is not None}), path)
    return str(path)


def test_table_has_the_rewards_that_it_says(tmp_path):
    found = read_logged_answers(table(tmp_path, explored=[True, None]))
    assert found.rewards["reward"].tolist() == [1.5, 0.0]
    assert found.explored.tolist() == [True, False]


@pytest.mark.parametrize(("columns", "said"), [
    ({"reward": None, "ad_id": None}, "lacks ad_id, reward; it needs the columns"),
    ({"propensity": [0.0, 1.0]}, "has 1 impressions, .* the first is 0.0 of ad a in request r"),
    ({"propensity": [2.0, None]}, "has 2 impressions")])
def test_table_is_refused_when_it_cannot_be_used(tmp_path, columns, said):
    with pytest.raises(DataError, match=said):
        read_logged_answers(table(tmp_path, **columns))


def test_log_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no change log at"):
        read_logged_answers(str(tmp_path / "none.sqlite3"))
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"bad.parquet cannot be read"):
        read_logged_answers(str(tmp_path / "bad.parquet"))
