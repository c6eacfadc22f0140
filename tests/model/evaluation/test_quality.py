"""Quality of a run: figures that the test events define, null and a line for those that they do not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.declaration.spec import TaskSpec
from model.data.load import Events
from model.evaluation.quality import defined, quality
from model.export.seal import export
from tests.model.range_workers import Recording
from tests.model.tiny_runs import TINY, run_of, trained_run
from tests.model.worlds import positives

CLICK_AND_BUY = (TaskSpec("click"), TaskSpec("buy"))


def two_tasks(negatives, test_rows):
    """The tiny log with two tasks and the test events (user, item, click, buy)."""
    data = positives()
    spec = replace(data.spec, tasks=CLICK_AND_BUY, negatives=negatives)
    labels = np.zeros((len(data.train), 2), np.int8)
    labels[:, 0] = np.arange(len(labels)) % 3 > 0 if negatives == "impressions" else 1
    labels[::4, 1] = 1
    users, items, *columns = (np.array(column) for column in zip(*test_rows, strict=True))
    test = Events(users.astype(np.int32), items.astype(np.int32), np.zeros(len(users), np.int64),
                  np.stack(columns, axis=1).astype(np.int8))
    encoder = replace(data.encoder, spec=spec)
    return replace(data, spec=spec, encoder=encoder, train=replace(data.train, labels=labels), test=test)


def measured(tmp_path, data, **changes):
    return quality(run_of(tmp_path, replace(TINY, **changes), data), 0)


@pytest.mark.parametrize(("rows", "ne", "line"), [
    ([(0, 1, 1, 0), (0, 2, 0, 0)], {"click"}, "ne of buy is null: 0 of the 2 test events have label 1 of buy"),
    ([(0, 1, 1, 1), (0, 2, 0, 1)], {"click"}, "ne of buy is null: 2 of the 2 test events have label 1 of buy"),
    ([(0, 1, 1, 0)], set(), "ne of click is null: 1 of the 1 test events"),
    ([(0, 1, 0, 0), (1, 2, 0, 1)], {"buy"}, "recall is null: no user has a test event with label 1 of click"),
])
def test_a_figure_that_the_test_events_do_not_define_is_null_with_a_reason(tmp_path, capsys, rows, ne, line):
    found = measured(tmp_path, two_tasks("impressions", rows))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {task for task, value in found["ne"].items() if value is not None} == ne
    assert all(found["ne"][task] > 0 for task in ne)
    assert (found["recall@20"] is None) == (found["users"] == 0)
    assert line in capsys.readouterr().err


def test_recall_is_of_scores_by_whoever_is_given(tmp_path):
    ranges, run = Recording(), run_of(tmp_path)
    assert quality(run, 0, ranges) == quality(run, 0)
    assert ranges.asked == ["_BestOfRange"]


def test_a_sampled_log_whose_test_has_the_second_task_alone_is_evaluated_and_exported(tmp_path, capsys):
    run = trained_run(tmp_path / "run", data=two_tasks("sampled", [(0, 1, 0, 1), (2, 5, 0, 1)]))
    found = quality(run, 0)
    assert found["users"] == 0
    assert found["recall@100"] is None
    assert found["sampled_ne"]["click"] is None
    assert found["sampled_ne"]["buy"] > 0
    assert "sampled_ne of click is null: 0 of the 2 test events" in capsys.readouterr().err
    export(run, tmp_path / "bundle", found)
    stored = Bundle.open(tmp_path / "bundle").files.json("evaluation.json")
    assert stored["sampled_ne"] == found["sampled_ne"]
    assert stored["recall@100"] is None


def test_two_towers_without_a_user_to_ask_have_no_ebr(tmp_path):
    model = replace(TINY.model, over_arch="dot")
    found = measured(tmp_path, two_tasks("sampled", [(0, 1, 0, 1)]), model=model)
    assert found["ebr"] == []


def test_a_run_without_test_events_says_so(tmp_path):
    assert measured(tmp_path, replace(positives(), test=None)) == {"test_events": 0}
    assert measured(tmp_path, replace(positives(), test=positives().test.where(np.zeros(60, bool)))) == {
        "test_events": 0}


def test_one_positive_is_enough_on_a_log_of_positives(tmp_path):
    data = positives()
    found = measured(tmp_path, replace(data, test=data.test.where(np.arange(60) == 7)))
    assert (found["test_events"], found["users"]) == (1, 1)
    assert found["sampled_ne"]["click"] > 0
    assert found["recall@20"] in (0.0, 1.0)


def test_defined_figures_pass_unchanged(capsys):
    test = positives().test
    assert defined("ne", {"click": 0.5}, ["click"], test) == {"click": 0.5}
    assert capsys.readouterr().err == ""
