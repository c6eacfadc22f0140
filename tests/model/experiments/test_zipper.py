"""The table of late labels from planted results, what each side learns, and the table made whole on a small world."""

import json

import numpy as np
import pytest

from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.experiments.cells import Cell
from model.experiments.zipper import HOURS, RULES, SIDES, TEST_DAYS, as_learned, check, report, write_log
from model.sources import synthetic_days
from tests.model.commands import model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("late") / "data"
    synthetic_days.write(folder, 150, 100, 12_000, 5, TEST_DAYS + 2, 0.05)
    return folder


@pytest.fixture(scope="module")
def log(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write_log(world, folder)
    return load_dataset(folder)


def test_rows_are_compared_with_the_oracle():
    done = [(Cell("zipper", slug, {}, 0), {"ne": {"click": 0.8, "conversion": 0.6 + 0.06 * at},
                                           "predicted_by_true": 1.0 - 0.1 * at, "train_events": 1000, "known": 9,
                                           "test_events": 300, "positives": 7}) for at, slug in enumerate(SIDES)]
    made = report(done)
    assert [row["change"]["mean"] for row in made.data["rows"]] == pytest.approx([0, 10, 20, 30, 40, 50, 60])
    assert f"| {SIDES['naive']} | 0.6600 | +10.00 % | 0.900 | 0.8000 |" in made.markdown
    assert "1,000 impressions, asked about 300 of the 3 days after them with 7 conversions" in made.markdown


def test_the_log_has_ten_days_and_the_test_days_come_after_it(log):
    assert len(log.train) == 12_000
    assert len(log.test) == TEST_DAYS * 1_200
    assert log.test.timestamps.min() > log.train.timestamps.max()
    assert log.spec.tasks[1].windows == HOURS


def test_sides_learn_other_labels_of_the_same_impressions(log):
    sides = {side: as_learned(log, side) for side in SIDES}
    positives = {side: int(one.train.labels[:, 1].sum()) for side, one in sides.items()}
    assert positives["naive"] < positives["oracle"]
    assert {positives[side] for side in RULES} == {positives["naive"]}
    assert sides["oracle"].windows is sides["naive"].windows is None
    assert sides["longest"].windows.spans == (log.windows.spans[0][-1:],)
    assert sides["longest"].spec.window_heads == ()
    assert sides["zipper"].spec.window_heads == sides["every"].spec.window_heads == (1, 1)
    assert {side: one.windows.rule for side, one in sides.items() if one.windows is not None} == RULES
    assert sides["waiting"].spec.window_heads == ()
    for one in sides.values():
        np.testing.assert_array_equal(one.test.labels, log.test.labels)


@pytest.mark.long
def test_the_table_is_made_by_its_command(world, tmp_path):
    printed = model("experiment", "zipper", "--data", world, "--seeds", 1, "--out", tmp_path, "--small")
    assert (tmp_path / "zipper.md").read_text() in printed
    rows = json.loads((tmp_path / "zipper.json").read_text())["rows"]
    assert [row["side"] for row in rows] == list(SIDES)
    assert all(row["conversion_ne"]["mean"] > 0 for row in rows)


def test_a_world_that_is_too_short_is_refused(tmp_path, world):
    synthetic_days.write(tmp_path, 50, 50, 1_000, 5, TEST_DAYS, 0.05)
    with pytest.raises(ConfigError, match="is no synthetic world of at least 4 days; write one with"):
        check(tmp_path)
    check(world)
