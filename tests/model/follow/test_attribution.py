"""Attribution: labels go to the impressions they belong to, as a search through all of them would find."""

from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.data.windows import day_folder, window_schema
from model.follow.attribution import attributed
from model.sources import synthetic_days
from model.sources.synthetic_days import MOVING_SPEC

WINDOW = 10
SCHEMA = window_schema(MOVING_SPEC)
SHOWN, CLICK, CONVERSION = (0, 0), (1, 0), (0, 1)


def events(*rows, clock=None):
    """Rows of user, ad, time, labels and request."""
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, (user, ad, at, *labels, request), strict=True))
                                  for user, ad, at, labels, request in rows], SCHEMA)
    times = table["timestamp"] if clock is None else table["timestamp"].cast("timestamp[s]").cast(clock)
    return table.set_column(2, "timestamp", times)


def joined(older, new, labels, window=WINDOW, clock=None):
    tables = attributed(*(events(*rows, clock=clock) for rows in (older, new, labels)), window)
    return [[(row["user_id"], row["ad_id"], row["timestamp"], (row["click"], row["conversion"]), row["request_id"])
             for row in table.to_pylist()] for table in tables]


def test_the_request_decides_and_otherwise_the_last_impression():
    shown = [("u", "a", 1, SHOWN, "r1"), ("u", "a", 3, SHOWN, None), ("u", "a", 5, SHOWN, "r2")]
    older, new = joined([], shown, [("u", "a", 6, CLICK, "r1"), ("u", "a", 7, CLICK, None),
                                    ("u", "a", 8, CONVERSION, "r9"), ("v", "a", 6, CLICK, "r1")])
    assert new == [("u", "a", 1, CLICK, "r1"), ("u", "a", 3, CONVERSION, None), ("u", "a", 5, CLICK, "r2"),
                   ("v", "a", 6, CLICK, "r1")]
    assert not older


def test_a_label_after_the_window_is_a_row_of_its_own():
    shown = [("u", "a", 0, SHOWN, "r1")]
    assert joined(shown, [], [("u", "a", 10, CLICK, "r1")]) == [[("u", "a", 0, CLICK, "r1")], []]
    late = [("u", "a", 11, CLICK, "r1")]
    assert joined(shown, [], [*late, *late, ("u", "a", 13, CONVERSION, "r1")]) == [
        shown, [("u", "a", 11, (1, 1), "r1")]]


def test_a_repeated_impression_is_the_same_one_and_so_is_one_that_comes_after_its_click():
    shown = ("u", "a", 4, SHOWN, "r1")
    assert joined([], [shown, shown], [("u", "a", 5, CLICK, "r1"), ("u", "a", 5, CLICK, "r1")])[1] == [
        ("u", "a", 4, CLICK, "r1")]
    assert joined([shown], [shown, ("u", "a", 15, SHOWN, "r1")], [])[1] == [("u", "a", 15, SHOWN, "r1")]
    assert joined([("u", "a", 5, CLICK, "r1")], [shown], []) == [[("u", "a", 5, CLICK, "r1")], []]
    assert joined([], [shown], [("u", "a", 3, CLICK, "r1")])[1] == [("u", "a", 4, CLICK, "r1")]


def test_in_a_log_of_positives_a_repeated_click_counts_once_if_it_names_its_request():
    clicks = [("u", "a", at, CLICK, request) for at, request in ((1, "r1"), (2, "r1"), (3, None), (4, None))]
    assert joined([clicks[0]], clicks, [("u", "a", 5, CONVERSION, "r1")]) == [
        [("u", "a", 1, (1, 1), "r1")], clicks[2:]]


def test_the_window_is_in_seconds_whatever_the_unit_of_the_log():
    for clock in ("timestamp[ms]", "timestamp[ns]"):
        for at, rows in ((10, 1), (11, 2)):
            older, new = joined([("u", "a", 0, SHOWN, None)], [], [("u", "a", at, CLICK, None)], clock=clock)
            assert len(older) + len(new) == rows


EVENT = st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.integers(0, 30),
                  st.sampled_from([SHOWN, CLICK, CONVERSION]), st.sampled_from([None, None, "r1", "r2"]))


def by_search(rows):
    """What becomes of rows if each looks at all that were taken before it, first the impressions, by time."""
    taken = []
    for user, ad, at, labels, request in sorted(rows, key=lambda row: (row[3] != SHOWN, row[2])):
        mine = [row for row in taken if row["pair"] == (user, ad) and at - row["at"] <= WINDOW]
        same = [row for row in mine if request is not None and row["request"] == request and row["at"] - at <= WINDOW]
        before = [row for row in mine if row["at"] <= at and (request is None or row["request"] is None)]
        if found := same or (before if labels != SHOWN else []):
            last = max(reversed(found), key=lambda row: row["at"])
            last["labels"] = tuple(map(max, last["labels"], labels))
        else:
            taken.append({"pair": (user, ad), "at": at, "labels": labels, "request": request})
    return sorted(repr((*row["pair"], row["at"], row["labels"], row["request"])) for row in taken)


@given(st.lists(EVENT, max_size=12))
def test_labels_go_where_a_search_through_all_impressions_finds(rows):
    _, new = joined([], [row for row in rows if row[3] == SHOWN], [row for row in rows if row[3] != SHOWN])
    assert sorted(map(repr, new)) == by_search(rows)


@given(st.lists(EVENT, max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_windows_may_end_anywhere(rows, ends):
    """A log grows to the same events wherever it is cut, if no impression comes after its own label."""
    rows = [(user, ad, 2 * at, labels, request) for at, (user, ad, _, labels, request) in enumerate(rows)]
    for at, (user, ad, _, labels, request) in enumerate(rows):
        assume(labels != SHOWN or request is None or not any(
            (*row[:2], row[4]) == (user, ad, request) and row[3] != SHOWN for row in rows[:at]))
    log = []
    for start, end in pairwise([0, *sorted(ends), len(rows)]):
        part = rows[start:end]
        older, new = joined(log, [row for row in part if row[3] == SHOWN], [row for row in part if row[3] != SHOWN])
        log = older + new
    assert sorted(map(repr, log)) == by_search(rows)


@pytest.mark.parametrize("named", [True, False])
def test_labels_of_a_world_that_moves_are_those_of_the_world_if_they_name_their_requests(tmp_path, named):
    """Impressions and single labels, as a change log has them; a few ads, so that users see them again and again."""
    days = 3
    synthetic_days.write(tmp_path, 12, 40, 40_000, 3, days, 0.0)
    world = pa.concat_tables([pq.read_table(day_folder(tmp_path, day) / "events.parquet")
                              for day in range(1, days + 1)])
    rows = world.to_pylist()
    shown = [(row["user_id"], row["ad_id"], row["timestamp"], SHOWN, row["request_id"] if named else None)
             for row in rows]
    labels = [(*shown[at][:2], row["timestamp"] + 1 if label == CLICK else row["conversion_at"], label, shown[at][4])
              for at, row in enumerate(rows) for label, name in ((CLICK, "click"), (CONVERSION, "conversion"))
              if row[name]]
    _, found = joined([], shown, labels, window=30 * 86_400)
    truth = [(row["click"], row["conversion"]) for row in rows]
    assert ([row[3] for row in found] == truth) is named
