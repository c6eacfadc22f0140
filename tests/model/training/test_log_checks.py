"""What is refused or told of a log before the training."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.declaration.spec import TaskSpec
from model.config.errors import ConfigError
from model.training.log_checks import check_log
from tests.model.tiny_runs import TINY
from tests.model.worlds import events, impressions, positives


def told(capsys, log, config=TINY):
    check_log(log, config)
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def labelled(log, *columns):
    """The log with these labels, a number or an array a task."""
    labels = np.stack([np.broadcast_to(column, len(log.train)) for column in columns], axis=1).astype(np.int8)
    return replace(log, train=replace(log.train, labels=labels))


@pytest.mark.parametrize("log", [positives(), impressions()], ids=["positives", "impressions"])
def test_nothing_is_told_of_a_sound_log(capsys, log):
    assert told(capsys, log) == ""


def test_a_log_without_a_positive_is_refused():
    with pytest.raises(ConfigError, match="no train event has label 1 of click or purchase, so there is nothing to"):
        check_log(labelled(impressions(), 0, 0), TINY)


def test_a_task_without_a_positive_is_refused_if_ads_are_ranked_by_it():
    with pytest.raises(ConfigError, match="no train event has label 1 of click, and ads are ranked by the first task"):
        check_log(labelled(impressions(), 0, 1), TINY)


def test_positives_of_tasks_without_weight_do_not_count():
    log = labelled(impressions(), 0, np.arange(720) % 2)
    with pytest.raises(ConfigError, match="no train event has label 1 of click, so there is nothing to learn"):
        check_log(log, replace(TINY, task_weights={"purchase": 0.0}))


@pytest.mark.parametrize(("label", "advice"), [(1, 'declare negatives "sampled"'), (0, "the task has positives")])
def test_impressions_with_labels_of_one_class_are_told(capsys, label, advice):
    log = impressions()
    said = told(capsys, labelled(log, log.train.labels[:, 0], label))
    assert f"warning: task purchase has the label {label} in all 720 train impressions" in said
    assert advice in said
    assert "task click" not in said


def test_a_second_task_without_positives_is_told_of_a_log_of_positives(capsys):
    log = positives()
    two = replace(log, spec=replace(log.spec, tasks=(*log.spec.tasks, TaskSpec("buy"))), test=None)
    assert "warning: task buy has no positive in 360 train events" in told(capsys, labelled(two, 1, 0))


def test_few_positives_are_told(capsys):
    log = impressions()
    assert "only 30 of the 720 train events have a positive label" in told(
        capsys, labelled(log, np.arange(720) % 24 == 0, np.arange(720) % 48 == 0))


@pytest.mark.parametrize(("known", "said"), [
    (0, "none of the 60 test users has a positive train event"),
    (20, "only 20 of the 60 test users have a positive train event"), (40, "")])
def test_test_users_without_a_history_are_told(capsys, known, said):
    log = positives(users=100)
    train = log.train.where((log.train.users < known) | (log.train.users >= 60))
    found = told(capsys, replace(log, train=train, test=events([(user, 0) for user in range(60)])))
    assert (said in found) if said else not found


def test_users_without_a_history_are_no_news_without_user_ids(capsys):
    log = positives(users=100)
    log = replace(log, spec=replace(log.spec, user_ids=False), train=log.train.where(log.train.users >= 60),
                  test=events([(user, 0) for user in range(60)]))
    assert not told(capsys, log)
