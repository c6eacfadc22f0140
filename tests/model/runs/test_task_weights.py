"""Weights of tasks: the run's come before the log's, and what cannot be weighed is refused."""

from dataclasses import replace

import pytest

from index_store.declaration.spec import TaskSpec
from model.config.errors import ConfigError
from model.runs.task_weights import task_weights
from tests.model.tiny_log import TINY_SPEC
from tests.model.tiny_runs import TINY, trainer_of


def test_a_weight_of_the_run_comes_before_that_of_the_log():
    log = replace(TINY_SPEC, tasks=(TaskSpec("click", 2.0), TaskSpec("buy", 0.5)))
    assert task_weights(log, TINY) == [2.0, 0.5]
    assert task_weights(log, replace(TINY, task_weights={"buy": 3.0})) == [2.0, 3.0]


def test_a_weight_for_a_task_that_the_log_lacks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name 'buy', but the tasks of this log are click"):
        trainer_of(tmp_path, replace(TINY, task_weights={"click": 1.0, "buy": 0.5}))
    with pytest.raises(ConfigError, match="all have weight 0"):
        trainer_of(tmp_path, replace(TINY, task_weights={"click": 0.0}))
    with pytest.raises(ConfigError, match=r"gives click the weight -1.0"):
        replace(TINY, task_weights={"click": -1.0})
