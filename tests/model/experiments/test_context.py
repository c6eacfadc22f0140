"""The table of context from planted results, and made whole on a small world."""

import json
from dataclasses import replace

import numpy as np
import pytest

from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.experiments.cells import Cell
from model.experiments.context import READ, check, reading, report
from tests.model.commands import model
from tests.model.worlds import in_context


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told") / "data"
    model("data", "synthetic", "--ads", 150, "--users", 60, "--events", 1500, "--context", "--out", folder)
    return folder


def test_rows_are_compared_with_the_model_that_reads_nothing():
    rows = {name: {"ne": 0.9 - 0.1 * at, "overlap": 0.2 * at, "predicted_by_true": 1.0, "pairs": 500.0,
                   "p50_ms": 2.0 + at}
            for at, name in enumerate(READ)}
    made = report([(Cell("context", "context", {}, 0), {"rows": rows, "bayes_ne": 0.45, "test_events": 9, "users": 3})])
    assert [row["change"]["mean"] for row in made.data["rows"]] == pytest.approx([0, -100 / 9, -200 / 9, -300 / 9])
    assert "| position and hour | 0.6000 | -33.33 % | 0.600 | 1.00 | 500 | 5.00 ms |" in made.markdown
    assert "| the truth | 0.4500 | -50.00 % | 1 | 1 |  |  |" in made.markdown


def test_a_log_is_read_as_if_it_declared_less():
    data = in_context(300)
    hour = reading(data, ("hour",))
    assert [field.name for field in hour.spec.model_context] == ["hour"]
    assert len(hour.spec.context_fields) == 2
    np.testing.assert_array_equal(hour.train.context, data.train.context[:, :1])
    nothing = reading(data, ())
    assert nothing.train.context is nothing.test.context is None
    assert nothing.encoder.spec == nothing.spec == replace(data.spec, context_fields=nothing.spec.context_fields)
    assert reading(data, ("position", "hour")).spec == data.spec


@pytest.mark.long
def test_the_table_is_made_by_its_command(told, tmp_path):
    printed = model("experiment", "context", "--data", told, "--seeds", 1, "--out", tmp_path, "--small")
    assert (tmp_path / "context.md").read_text() in printed
    rows = json.loads((tmp_path / "context.json").read_text())["rows"]
    assert [row["name"] for row in rows] == list(READ)
    for row in rows:
        assert row["ne"]["mean"] > 0
        assert 0 <= row["overlap"]["mean"] <= 1
        assert row["p50_ms"]["mean"] > 0


def test_another_log_is_refused(log, told):
    with pytest.raises(ConfigError, match="is a synthetic world without context; write one with --context"):
        check(log)
    check(told)
    assert load_dataset(told).train.context is not None
