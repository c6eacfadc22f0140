"""Progressive measures: those of `evaluate` where nothing is new, and of unknown ads and users where they are."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.value.calibration import Calibration, Calibrations
from model.evaluation.quality import quality
from model.follow.progress import calibration_errors, following, progressive
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from tests.model.tiny_runs import TINY


def test_a_run_is_measured_as_evaluate_measures_it(followed_run, tmp_path):
    own = quality(Run.open(followed_run), 0)
    found = progressive(followed_run, followed_run.parent / "data", tmp_path / "work", 0)
    for name in ("recall@20", "test_events"):
        assert found[name] == pytest.approx(own[name])
    assert found["ne"]["click"] == pytest.approx(own["ne"]["click"], rel=1e-4)
    assert not (tmp_path / "work").exists()


def test_new_ads_and_users_are_measured_as_unknown_ones(followed_run, tmp_path):
    shutil.copytree(followed_run.parent / "data", tmp_path / "data", ignore=shutil.ignore_patterns("truth"))
    for name, key in (("ads", "ad_id"), ("users", "user_id")):
        table = pq.read_table(tmp_path / "data" / f"{name}.parquet")
        more = table.slice(0, 5).set_column(0, key, pa.array([f"new{at}" for at in range(5)]))
        pq.write_table(pa.concat_tables([table, more]), tmp_path / "data" / f"{name}.parquet")
    event = pq.read_table(tmp_path / "data" / "test_events.parquet").slice(0, 2)
    for at, (name, values) in enumerate({"user_id": ["new1", "new2"], "ad_id": ["new0", "new0"]}.items()):
        event = event.set_column(at, name, pa.array(values))
    event = event.set_column(3, "click", pa.array([1, 0], pa.int8()))
    pq.write_table(event, tmp_path / "data" / "test_events.parquet")
    found = progressive(followed_run, tmp_path / "data", tmp_path / "work", 0)
    assert found["test_events"] == 2
    assert found["users"] == 1
    assert 0 < found["ne"]["click"] < 10


def test_the_calibration_error_is_that_of_the_probabilities_that_serve(followed_run, tmp_path):
    run, data = Run.open(followed_run), followed_run.parent / "data"
    run.model.eval()
    certain = Calibrations(tuple(Calibration.line(1e-9, 30.0) for _ in run.dataset.spec.tasks))
    found = calibration_errors(followed_run, data, tmp_path / "work", certain)
    rates = run.dataset.test.labels.mean(axis=0)
    assert found == {task.name: pytest.approx(1 - rates[at]) for at, task in enumerate(run.dataset.spec.tasks)}
    assert not (tmp_path / "work").exists()


def test_a_run_that_follows_keeps_its_settings_but_those_of_its_first_training(tmp_path):
    first = replace(TINY, holdout=0.2, forget_share=0.5, rounds=3)
    RunFolder(tmp_path).create(first, tmp_path)
    config = following(first, tmp_path)
    assert (config.forget_share, config.branching, config.batch_users) == (0.5, TINY.branching, TINY.batch_users)
    assert (config.epochs, config.rounds, config.holdout, config.start_from) == (0, 1, 0.0, str(tmp_path))
