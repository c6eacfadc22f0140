"""The table of ExFM from planted results, and made whole on a small world that moves."""

import json

import numpy as np
import pytest

from model.config.errors import ConfigError
from model.experiments.cells import Cell
from model.experiments.exfm import ARMS, DELAYS, LEAST_DAYS, MEASURED, check, days_of, expected_ne, report
from model.sources import synthetic_days
from model.sources.truth import TASKS, normalised_entropy
from tests.model.commands import model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "data"
    synthetic_days.write(folder, 150, 80, 1_500, 0, LEAST_DAYS, 0.03)
    return folder


def planted(day):
    ne = {arm.name: dict.fromkeys(TASKS, 0.9 - 0.1 * at + 0.01 * day) for at, arm in enumerate(ARMS)}
    return {"students": ne, "teachers": {str(delay): dict.fromkeys(TASKS, 0.8 + delay / 100) for delay in DELAYS}}


def test_students_are_compared_with_the_one_without_a_teacher():
    result = {"first_day": 9, "days": [planted(0), planted(1)]}
    made = report([(Cell("exfm", "exfm", {}, 0), result)])
    rows = made.data["rows"]
    assert [row["ne_click"]["mean"] for row in rows[:2]] == pytest.approx([0.905, 0.805])
    assert rows[1]["change_conversion"]["mean"] == pytest.approx(100 * (0.805 / 0.905 - 1))
    assert rows[0]["teacher_click"] is None
    assert {row["name"]: row["teacher_click"]["mean"] for row in rows if row["teacher_click"]} == {
        arm.name: pytest.approx(0.8 + arm.delay / 100) for arm in ARMS if arm.delay is not None}
    assert "days 9 to 10" in made.markdown


def test_the_ne_is_what_labels_drawn_by_the_truth_would_give(tolerance=0.01):
    rng = np.random.default_rng(0)
    truth, said = rng.uniform(0.02, 0.2, (200_000, 2)), rng.uniform(0.02, 0.2, (200_000, 2))
    drawn = rng.random(truth.shape) < truth
    found = expected_ne(truth, said)
    for at, task in enumerate(TASKS):
        assert found[task] == pytest.approx(normalised_entropy(said[:, at], drawn[:, at]), abs=tolerance)


@pytest.mark.long
def test_the_table_is_made_by_its_command(world, tmp_path):
    printed = model("experiment", "exfm", "--data", world, "--seeds", 1, "--out", tmp_path, "--small")
    assert (tmp_path / "exfm.md").read_text() in printed
    made = json.loads((tmp_path / "exfm.json").read_text())
    assert [row["name"] for row in made["rows"]] == [arm.name for arm in ARMS]
    assert np.shape(made["by_day"]) == (1, MEASURED, len(ARMS))
    assert all(row["ne_click"]["mean"] > 0 for row in made["rows"])
    assert all(row["teacher_click"]["mean"] > 0 for row, arm in zip(made["rows"], ARMS, strict=True)
               if arm.delay is not None)


def test_a_world_that_does_not_move_long_enough_is_refused(log, world, tmp_path):
    assert days_of(world) == LEAST_DAYS
    check(world)
    with pytest.raises(ConfigError, match=f"has 0 days; the table needs a moving world of at least {LEAST_DAYS}"):
        check(log)


def test_a_world_with_domains_is_refused(tmp_path):
    synthetic_days.write(tmp_path, 50, 50, 1_000, 5, LEAST_DAYS, 0.05, 2)
    with pytest.raises(ConfigError, match="is a world with domains, but the table asks for the truth of a day without"):
        check(tmp_path)
