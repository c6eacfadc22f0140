"""Context fields among the columns of the events, from planted logs."""

import numpy as np
import pyarrow as pa
import pytest

from model.data.load import load_dataset
from model.data.proposed import from_frames
from model.infer.columns import Column
from model.infer.context import served
from tests.model.infer.tables import told

N = 2_000


def log(*, positives=False, **columns):
    """Clicks of users on ads, beside columns of the moment: `hour` and `surface` by chance, whoever asks."""
    rng = np.random.default_rng(0)
    user, ad = rng.integers(0, 40, N), rng.integers(0, 25, N)
    return {"user_id": user, "ad_id": ad, "time": np.arange(N) + 10**9, "city": rng.integers(0, 4, 40)[user],
            "click": np.ones(N, int) if positives else rng.integers(0, 2, N), "hour": rng.integers(0, 24, N),
            "surface": rng.choice(["feed", "story"], N), **columns}


def proposed(**columns):
    return from_frames(pa.table(log(**columns)))


def declared(found):
    return {f.name: f.serve_as for f in found.spec.context_fields}


def test_columns_of_the_moment_are_context_that_the_model_reads(tmp_path):
    found = proposed(position=np.random.default_rng(1).integers(1, 9, N), night=np.arange(N) % 7 == 0)
    assert declared(found) == {"hour": "", "surface": "", "night": "", "position": "1"}
    assert all(f.model and f.kind == "categorical" for f in found.spec.context_fields)
    assert [f.name for f in found.spec.user_fields] == ["city"]
    found.save(tmp_path / "log")
    data = load_dataset(tmp_path / "log")
    assert data.spec == found.spec
    hour, _, position, night = data.train.context.T
    assert np.array_equal(np.unique(hour), np.arange(1, 25))
    assert (len(np.unique(position)), len(np.unique(night))) == (8, 2)


def test_each_guess_tells_its_reason():
    guesses = proposed(rank=np.arange(N) % 5).guesses
    value, why = told(guesses, "hour")
    assert value == "context that the model reads"
    assert "two events of a user agree 0%, of an ad 0% beyond chance" in why
    assert "24 values" in why
    value, why = told(guesses, "rank")
    assert value == "context, served as 0"
    assert "0 to 4" in why


def test_a_place_is_served_as_the_first_one_that_a_train_event_has():
    first_comes_late = np.where(np.arange(N) < N - 50, 2 + np.arange(N) % 3, 1)
    assert declared(proposed(position=first_comes_late))["position"] == "2"


@pytest.mark.parametrize(("name", "values", "says"), [
    ("session", [f"s{n // 5}" for n in range(N)], "400 values in 2,000 events, too many"),
    ("visit", np.arange(N), "dense, and a model reads categorical context"),
    ("temperature", np.random.default_rng(2).normal(size=N), "dense, and a model reads categorical context"),
    ("tags", [["a"], ["b", "c"]] * (N // 2), "multi, and a model reads categorical context"),
    ("purchase_kind", ["x", "y"] * (N // 2), None), ("ad_rank", [3, 4] * (N // 2), None),
    ("rating", [1, 2, 3, 4] * (N // 4), "named like something that a user did"),
    ("request_id", ["a", "b"] * (N // 2), "'request_id' is the name of another field or column"),
    ("place", ["a", "b"] * (N // 2), "'place' is the name of another field or column"),
    ("note", [f"{n} {'x' * 130}" for n in range(N)], "texts of up to")])
def test_what_is_no_context_is_left_out_and_told(name, values, says):
    found = proposed(**{name: values})
    assert (name in declared(found)) == (says is None)
    if says:
        value, why = told(found.guesses, name)
        assert value == "left out"
        assert says in why


def test_what_only_positives_have_is_known_only_afterwards():
    click = log()["click"]
    found = proposed(basket=[["red", "blue"][n % 2] if clicked else None for n, clicked in enumerate(click)])
    assert "basket" not in declared(found)
    assert "100% of the positives have a value that no negative has" in told(found.guesses, "basket")[1]


def test_values_that_do_not_come_again_are_no_context():
    week = np.arange(N) // 200
    found = proposed(week=week, weekday=week % 7, half=["am" if n // 100 % 2 else "pm" for n in range(N)])
    assert set(declared(found)) == {"hour", "surface", "half"}
    assert "do not come again" in told(found.guesses, "week")[1]


def test_a_log_of_positives_has_context_and_no_place():
    found = proposed(positives=True, position=np.arange(N) % 5)
    assert found.spec.negatives == "sampled"
    assert declared(found) == {"hour": "", "surface": ""}
    assert "cannot tell what that does" in told(found.guesses, "position")[1]


def test_without_user_ids_only_a_place_is_context():
    columns = {name: values for name, values in log(position=np.arange(N) % 5).items() if name != "user_id"}
    found = from_frames(pa.table(columns))
    assert declared(found) == {"position": "0"}
    assert {f.name for f in found.spec.user_fields} == {"city", "hour", "surface"}


def test_a_name_that_a_declaration_cannot_have_is_changed(tmp_path):
    found = proposed(**{"ad slot": ["left", "right"] * (N // 2)})
    assert declared(found) == {"hour": "", "surface": "", "ad_slot": ""}
    found.save(tmp_path / "log")
    assert load_dataset(tmp_path / "log").train.context.shape[1] == 3


def test_only_whole_numbers_named_like_a_place_are_served():
    def column(name, kind):
        return Column(name=name, type=kind, rows=9, nulls=0, distinct=3, low=1, high=3, example="1")

    assert served(column("ad_position", "integer"))
    assert not served(column("position", "text"))
    assert not served(column("positions_seen", "integer"))
