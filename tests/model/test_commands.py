"""The commands: the settings that their flags make, and what is refused before any work."""

import argparse
import contextlib
import io
from dataclasses import replace

import pyarrow as pa
import pytest

from model.__main__ import main
from model.commands import _chooses, _settings, add_evaluate_arguments, add_train_arguments
from model.config.errors import ConfigError
from model.config.monn import SIZES
from tests.model.commands import model


def train_arguments(*words):
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def settings(*words):
    return _settings(train_arguments(*words))


def test_flags_are_the_settings_of_a_new_run(tmp_path):
    config, data = settings("--out", tmp_path / "run", "--data", tmp_path / "data", "--epochs", 7, "--seed", 3)
    assert (config.epochs, config.seed, data) == (7, 3, tmp_path / "data")


def test_a_run_starts_from_another_with_its_shape_and_its_tree(tiny_run, tmp_path):
    config, _ = settings("--out", tmp_path / "run", "--data", tmp_path, "--from", tiny_run.folder.path,
                         "--round-epochs", 2)
    assert config.model == tiny_run.config.model
    assert (config.epochs, config.round_epochs) == (0, 2)


@pytest.mark.parametrize(("words", "said"), [
    ([], "train needs --data"),
    (["--data", "d", "--interest", "history"], "--interest is a flag of test-time training"),
    (["--data", "d", "--control", "real"], "--control is a flag of test-time training"),
    (["--data", "d", "--phi", "0.5"], "name it with --from")])
def test_flags_that_lack_another_are_refused(tmp_path, words, said):
    with pytest.raises(ConfigError, match=said):
        settings("--out", tmp_path, *words)


@pytest.mark.parametrize(("words", "users"), [([], 2000), (["--users", "all"], 0), (["--users", "0"], 0),
                                              (["--users", "7"], 7)])
def test_users_to_ask_are_a_number_or_all(words, users):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    assert parser.parse_args(["--run", "r", *words]).users == users


def test_a_bundle_is_not_asked_while_trees_are_compared(capsys):
    assert main(["evaluate", "--run", "r", "--trees", "--bundle", "b"]) == 1
    assert "--trees compares trees of the run, and --bundle asks b" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--trees"], ["--bundle", "b"]])
def test_stored_pairs_are_measured_instead_of_trees_or_a_bundle(words, capsys):
    assert main(["evaluate", "--run", "r", "--foundation", "f", *words]) == 1
    assert "--foundation tells what its stored pairs are worth to the run, instead of" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "some"])
def test_another_number_of_users_is_a_usage_error(text, capsys):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--run", "r", f"--users={text}"])
    assert f"{text} is not a number of users; give one of at least 1, or all" in capsys.readouterr().err


def test_settings_of_a_run_are_repeated_and_flags_win(tiny_run, tmp_path):
    file = tiny_run.folder.path / "config.json"
    config, data = settings("--out", tmp_path / "run", "--data", tmp_path, "--settings", file)
    assert (config, data) == (tiny_run.config, tmp_path)
    config, _ = settings("--out", tmp_path / "run", "--data", tmp_path, "--settings", file, "--seed", 5,
                         "--size", "medium")
    assert config == replace(tiny_run.config, seed=5, model=SIZES["medium"])


@pytest.mark.parametrize(("content", "said"), [
    (None, r"cannot be read \(No such file or directory\); name the config.json in the folder of a run"),
    ("{", r"does not hold the settings of a run \(JSONDecodeError"),
    ("[1]", "does not hold the settings of a run"),
    ('{"negatives": "sampled"}', r"does not hold the settings of a run \(KeyError\('train'\)\)"),
    ('{"version": 4, "train": {"epoch": 1, "model": {}}}', "does not hold the settings of a run"),
    ('{"version": 4, "train": {"epochs": -1, "model": {}}}', "epochs is -1; give 0 or more"),
    ('{"train": {}}', "holds a run of network version 1, this program trains version 4")])
def test_a_file_without_settings_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "file.json").write_text(content)
    with pytest.raises(ConfigError, match=said):
        settings("--out", tmp_path / "run", "--data", tmp_path, "--settings", tmp_path / "file.json")


def test_a_run_without_a_tree_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="rounds is 0; at least 1 is needed, since the service searches a tree"):
        settings("--out", tmp_path / "run", "--data", tmp_path, "--rounds", 0)


@pytest.mark.parametrize(("words", "chooses"), [
    ([], True), (["--minutes", "2"], True), (["--minutes", "0"], False), (["--resume"], False),
    (["--from", "r"], False), (["--stack", "large@1"], False), (["--settings", "f"], False),
    (["--settings", "f", "--minutes", "0"], False)])
def test_settings_are_chosen_unless_they_are_decided(words, chooses):
    assert _chooses(train_arguments("--out", "run", *words)) is chooses


@pytest.mark.parametrize("words", [["--resume"], ["--from", "r"], ["--stack", "large@1"], ["--settings", "f"]])
def test_a_budget_without_anything_to_choose_is_refused(words):
    with pytest.raises(ConfigError, match=f"--minutes is 2, but with {words[0]} there is nothing to choose"):
        _chooses(train_arguments("--out", "run", "--minutes", 2, *words))


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_another_number_of_minutes_is_a_usage_error(text, capsys):
    with pytest.raises(SystemExit):
        train_arguments("--out", "run", f"--minutes={text}")
    assert f"{text} is not a number of minutes; give one of at least 0" in capsys.readouterr().err


def test_a_log_without_a_positive_is_refused_before_the_training(tiny, tmp_path):
    tiny.change("events", "click", pa.array([0] * 5, pa.int8()))
    tiny.change("events", "buy", pa.array([0] * 5, pa.int8()))
    said = model("train", "--data", tiny.save(tmp_path / "data"), "--out", tmp_path / "run", code=1)
    assert said == ("error: no train event has label 1 of click or buy, so there is nothing to learn; give events with "
                    "positives\n")
    assert not (tmp_path / "run").exists()


def test_a_log_of_a_few_impressions_is_trained_and_told(tiny, tmp_path):
    events = tiny.tables["events"]
    tiny.tables["events"], tiny.tables["test_events"] = events.slice(0, 4), events.slice(4)
    words = ["train", "--data", str(tiny.save(tmp_path / "data")), "--out", str(tmp_path / "run"), "--minutes", "0.1"]
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert main(words) == 0
    assert "warning: only 2 of the 4 train events have a positive label" in err.getvalue()
    assert (tmp_path / "run" / "choice.json").exists()
