"""Proposals: odd tables get a message or a log that loads, and never anything else."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index_store.declaration.values import FeatureError
from model.data.load import load_dataset
from model.data.proposed import from_frames
from model.data.tables import DataError
from tests.model.infer.tables import told, wide

NAMES = st.sampled_from([
    "user_id", "item_id", "ad_id", "timestamp", "click", "rating", "event", "price", "genres", "history", "row",
    "rowid", "n", "place", "positive", "id", "a b", "Ä", 'x"y', "{0}", "targeting", "bid", "is_test_event__", "date",
    "user city", "select", "k", "c", "t", "e"]) | st.text(min_size=1, max_size=6).filter(
        lambda name: name.strip() and "\0" not in name)
VALUES = (st.integers(-3, 5), st.integers(-2**63, 2**63 - 1), st.floats(), st.booleans(), st.text(max_size=5),
          st.datetimes(), st.dates(), st.lists(st.text(max_size=3), max_size=3),
          st.lists(st.integers(0, 3), max_size=3),
          st.sampled_from(["view", "click", "1", "2.0", "a|b", "", "nan", "2024-01-01", "2024-01-01 10:00"]))


@st.composite
def frames(draw):
    rows = draw(st.integers(1, 12))
    columns = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=7, unique_by=str.lower)):
        values = draw(st.lists(st.none() | draw(st.sampled_from(VALUES)), min_size=rows, max_size=rows))
        columns[name] = pa.array(values)
    return pa.table(columns)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(frames(), frames() | st.none(), frames() | st.none())
def test_an_odd_table_is_refused_in_words_or_loads(events, ads, users):
    try:
        proposed = from_frames(events, ads, users)
    except FeatureError:
        return
    with tempfile.TemporaryDirectory() as folder:
        proposed.save(Path(folder) / "log")
        with suppress(DataError):  # what the format forbids, such as an empty id
            assert load_dataset(Path(folder) / "log").spec == proposed.spec


def test_a_log_without_user_ids_has_a_user_for_each_event(tmp_path):
    columns = {name: values for name, values in wide().items() if name != "userId"}
    proposed = from_frames(pa.table(columns))
    assert not proposed.spec.user_ids
    assert {f.name for f in proposed.spec.user_fields} == {"city", "age", "placement"}
    proposed.save(tmp_path / "log")
    data = load_dataset(tmp_path / "log")
    assert len(data.user_ids) == len(data.train) + len(data.test) == 900
    assert np.bincount(np.concatenate([data.train.users, data.test.users])).tolist() == [1] * 900


def test_repeats_decide_whether_what_a_user_had_is_left_out():
    films = from_frames(pa.table({"user_id": [1, 1, 2, 2], "movie_id": [1, 2, 1, 3]}))
    ads = from_frames(pa.table({"user_id": [1, 1, 2, 2], "ad_id": [1, 1, 1, 3]}))
    assert (films.spec.exclude_history, ads.spec.exclude_history) == (True, False)
    assert told(ads.guesses, "exclude_history")[1].startswith("25.0% of the positives")


def test_targeting_of_ads_is_kept(tmp_path):
    predicate = '{"field": "city", "in": ["Berlin"]}'
    ads = pa.table({"item_id": sorted(set(wide()["item_id"])), "targeting": [predicate] + [None] * 24})
    from_frames(pa.table(wide()), ads).save(tmp_path / "log")
    assert len(load_dataset(tmp_path / "log").targeting.distinct) == 1


@pytest.mark.parametrize(("users", "says"), [
    ({"userId": [1000, 1001, 1000]}, "users: column 'userId', row 2: value 1000 is already the id of row 0"),
    ({"userId": [1000, None]}, "users: column 'userId', row 1: the id is missing"),
    ({"userId": ["a", "b"]}, "users: no userId of events is in its column 'userId': the events say '1"),
    ({"name": ["a", "a"]}, "users has no column 'userId', by which events names its users, but name")])
def test_users_that_do_not_fit_are_refused(users, says):
    with pytest.raises(FeatureError, match=says):
        from_frames(pa.table(wide()), users=pa.table(users))
