"""Kinds of fields, by types, names and numbers of values."""

import datetime as dt

import pyarrow as pa
import pytest

from model.infer.kinds import field_name, find_field
from model.infer.reading import read_frames

N = 60


def field(name, values, side="item"):
    log = read_frames({"events": pa.table({"n": [1]}), "ads": pa.table({name: values})})
    found, guess = find_field(log, "ads", log.columns["ads"][0], side)
    read = None if found is None else [row for row, in log.con.execute(f"SELECT {found.sql} FROM ads").fetchall()]
    return found and found.spec, guess, read


@pytest.mark.parametrize(("name", "values", "kind"), [
    ("x", [n / 3 for n in range(N)], "dense"), ("price", list(range(N)), "dense"),
    ("index", list(range(N)), None), ("Unnamed: 0", list(range(N)), None), ("row_id", list(range(5, N + 5)), None),
    ("row", list(range(0, 2 * N, 2)), "dense"), ("age_group", [0, 1] * 30, "categorical"),
    ("category_id", list(range(20)) * 3, "categorical"), ("x", [0, 1, 2] * 20, "categorical"),
    ("x", list(range(20)) * 3, "categorical"), ("x", list(range(N)), "dense"), ("x", [True, False] * 30, "categorical"),
    ("x", ["a", "b", "c"] * 20, "categorical"), ("x", [["a"], ["b", "c"]] * 30, "multi"),
    ("x", ["a|b", "b", "a|c"] * 20, "multi"), ("x", ["['a', 'b']", "['b']", "['c','a']"] * 20, "multi"),
    ("x", [dt.date(2024, 1, 1 + n) for n in range(30)] * 2, "dense"),
    ("title", [f"a title {n}" for n in range(N)], None), ("x", ["é" * 65, "b"] * 30, None), ("x", ["a"] * N, None),
    ("x", [None] * N, None)])
def test_kind_is_by_type_name_and_number_of_values(name, values, kind):
    spec, guess, _ = field(name, values)
    assert (spec and spec.kind) == kind
    assert guess.why


def test_lists_are_taken_apart_without_marks_and_blanks():
    assert field("x", ["['b', 'ä']", "['b']", "[]"] * 20)[2][:3] in ([["b", "ä"], ["b"], []], [["ä", "b"], ["b"], []])
    spec, _, read = field("genres", ["Action Film Noir", "Action", "Comedy Action", "Noir Comedy", "Film", "Noir Film",
                                     "Action Noir", "Film Comedy", "Comedy", "Noir", "Action Film", "Comedy Noir Film",
                                     "Noir Action Comedy", "Film Action", "Action Comedy Film", "Film Noir Action"] * 3)
    assert (spec.kind, sorted(read[0])) == ("multi", ["Action", "Film", "Noir"])


def test_missing_numbers_make_a_field_optional():
    spec, guess, _ = field("price", [1.5, None, 2.5, None] * 15)
    assert spec.optional
    assert "30 of 60 values are missing" in guess.why
    assert not field("price", [1.5, 2.5] * 30)[0].optional


def test_an_advertiser_has_its_role_among_ads_alone():
    assert field("advertiser_id", ["a", "b"] * 30)[0].role == "advertiser"
    assert field("advertiser_id", ["a", "b"] * 30, "user")[0].role == ""


@pytest.mark.parametrize(("name", "found"), [
    ("Genre", "Genre"), ("item colour", "item_colour"), ("history", "history_field"), ("2nd", "_2nd"),
    ("a:token", "a")])
def test_names_are_kept_if_a_declaration_may_hold_them(name, found):
    assert field_name(name) == found
