"""The folder of a run: what is refused, and that settings and reports survive it."""

import json
from dataclasses import replace

import pytest

from model.config.errors import ConfigError
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from tests.model.tiny_runs import TINY, run_of, trainer_of
from tests.model.worlds import positives


def test_an_existing_run_is_not_overwritten(tiny_run):
    with pytest.raises(ConfigError, match="already holds a run; add --resume"):
        RunFolder(tiny_run.folder.path).create(TINY, tiny_run.data)


def test_a_run_that_stopped_before_its_first_checkpoint_can_be_started_again(tmp_path):
    RunFolder(tmp_path).create(TINY, tmp_path)
    RunFolder(tmp_path).create(replace(TINY, seed=5), tmp_path)
    assert RunFolder(tmp_path).config()[0].seed == 5


def test_a_checkpoint_of_another_shape_is_refused(tiny_run):
    other = Run(tiny_run.folder, positives(), replace(TINY, model=replace(TINY.model, dim=8)))
    with pytest.raises(ConfigError, match="belongs to another model"):
        other.load()


def test_a_damaged_checkpoint_is_named(tmp_path):
    trainer_of(tmp_path)._save()
    (tmp_path / "weights.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ConfigError, match=r"weights\.safetensors is damaged .*; train again"):
        run_of(tmp_path).load()


def test_a_folder_without_a_run_or_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no run; name the --out"):
        RunFolder(tmp_path).config()
    with pytest.raises(ConfigError, match="holds no checkpoint yet"):
        run_of(tmp_path).load()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json is not readable"):
        RunFolder(tmp_path).config()


def test_config_survives_the_run_folder(tmp_path):
    config = replace(TINY, task_weights={"click": 2.0}, teacher_file="/soft.parquet")
    RunFolder(tmp_path).create(config, tmp_path / "data")
    assert RunFolder(tmp_path).config() == (config, tmp_path / "data")


def test_reports_are_json_whatever_the_figures_are(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log({"loss": float("nan"), "nested": [{"gap": float("inf")}, 1], "fine": 0.5})
    line = (tmp_path / "log.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {"loss": None, "nested": [{"gap": None}, 1], "fine": 0.5}
