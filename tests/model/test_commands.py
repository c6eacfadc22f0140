"""The commands: the settings that their flags make, and what is refused before any work."""

import argparse

import pytest

from model.commands import _settings, add_evaluate_arguments, add_train_arguments
from model.config import ConfigError


def settings(*words):
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    return _settings(parser.parse_args([str(word) for word in words]))


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


@pytest.mark.parametrize("text", ["-1", "some"])
def test_another_number_of_users_is_a_usage_error(text, capsys):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--run", "r", f"--users={text}"])
    assert f"{text} is not a number of users; give one of at least 1, or all" in capsys.readouterr().err
