"""Labels and negatives, by values and names."""

import pyarrow as pa
import pytest

from index_store.declaration.values import FeatureError
from model.infer.labels import find_labels, task_name
from model.infer.reading import Log, read_frames
from model.infer.roles import Given, find_roles
from tests.model.infer.tables import told


def labels(shown="events", given=(), **columns):
    log = read_frames({"events": pa.table({"user_id": [1, 1, 2, 3], "item_id": [1, 2, 1, 3], **columns})})
    log = Log(log.con, {"events": shown}, log.columns)
    roles, _ = find_roles(log, Given())
    found, guesses = find_labels(log, roles, Given(labels=tuple(given)))
    tasks = ", ".join(found.tasks.values())
    rows = log.con.execute(f"SELECT {tasks} FROM events WHERE {found.where} ORDER BY rowid").fetchall()
    return list(found.tasks), found.negatives, [list(row) for row in rows], guesses


def test_labels_are_ordered_by_their_positives():
    tasks, negatives, rows, guesses = labels(is_purchase=[0, 0, 1, 0], clicked=[True, False, True, False])
    assert (tasks, negatives) == (["clicked", "is_purchase"], "impressions")
    assert rows == [[1, 0], [0, 0], [1, 1], [0, 0]]
    assert told(guesses, "task clicked")[1] == "0 or 1, and named like a label; 1 in 2 of 4 events"


def test_labels_that_are_given_keep_their_order():
    columns = {"is_purchase": [0, 0, 1, 0], "clicked": [True, False, True, False]}
    assert labels(given=("is_purchase", "clicked"), **columns)[0] == ["is_purchase", "clicked"]


def test_a_label_that_is_one_or_missing_is_zero_where_it_is_missing():
    _, negatives, rows, guesses = labels(click=[1.0, None, None, 1.0])
    assert (negatives, rows) == ("impressions", [[1], [0], [0], [1]])
    assert told(guesses, "task click")[1].endswith("rows without a value are 0")


def test_labels_that_are_all_one_are_positives_only():
    assert labels(click=[1, 1, 1, 1])[1:3] == ("sampled", [[1]] * 4)


def test_ratings_from_four_of_five_are_positives():
    tasks, negatives, rows, guesses = labels(rating=[5, 3.5, 4, 1])
    assert (tasks, negatives, rows) == (["like"], "sampled", [[1], [1]])
    assert "goes from 1 to 5: from 4 on" in told(guesses, "task like")[1]


@pytest.mark.parametrize(("kinds", "tasks", "negatives", "rows"), [
    (["view", "view", "add to cart", None], ["view", "add_to_cart"], "sampled", [[1, 0], [1, 0], [0, 1]]),
    (["impression", "impression", "click", "buy"], ["buy", "click"], "impressions", [[0, 0], [0, 0], [0, 1], [1, 0]])])
def test_kinds_of_events_are_tasks(kinds, tasks, negatives, rows):
    assert labels(event=kinds)[:3] == (tasks, negatives, rows)


@pytest.mark.parametrize(("shown", "task"), [
    ("x/plays.csv", "play"), ("orders.parquet", "purchase"), ("a.csv", "interaction")])
def test_without_labels_every_event_is_a_positive_named_by_the_file(shown, task):
    assert labels(shown)[:3] == ([task], "sampled", [[1]] * 4)


@pytest.mark.parametrize(("columns", "given", "says"), [
    ({"click": [1, 0, None, 1]}, (), "column 'click', row 2: the label is missing"),
    ({"stars": [0, 1, 3, 1]}, ("stars",), "column 'stars', row 2: value 3 is not a label"),
    ({"who": list("abcd")}, ("who",), "column 'who', row 0: value 'a' is not a label"),
    ({}, ("clik",), "has no column 'clik'")])
def test_what_is_no_label_is_refused_with_its_row(columns, given, says):
    with pytest.raises(FeatureError, match=says):
        labels(given=given, **columns)


@pytest.mark.parametrize(("name", "task"), [("Add To Cart", "add_to_cart"), ("7days", "_7days"), ("é", "column")])
def test_task_names_are_identifiers(name, task):
    assert task_name(name) == task
