"""`python -m model data`: every source by its name, one line and status 1 for what cannot be used."""

import argparse
import json
import os
from pathlib import Path

import pytest

from model.data.load import load_dataset
from model.sources import cli
from tests.model.data.mistakes import MISTAKES
from tests.model.infer.tables import wide, write_csv
from tests.paths import ROOT


def run(*argv):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([str(entry) for entry in argv]))


def test_the_command_writes_a_world_and_a_log_of_ones_own(tmp_path, tiny, capsys):
    assert run("synthetic", "--ads", 50, "--users", 40, "--events", 900, "--seed", 2, "--out", tmp_path / "world") == 0
    assert len(load_dataset(tmp_path / "world").items) == 50
    assert run("synthetic", "--ads", 50, "--users", 40, "--events", 900, "--days", 2, "--out", tmp_path / "world") == 0
    assert (tmp_path / "world" / "days" / "002" / "events.parquet").exists()
    assert run("synthetic", "--ads", 50, "--users", 40, "--events", 900, "--out", tmp_path / "world") == 0
    assert not (tmp_path / "world" / "days").exists()
    assert run("parquet", "--source", tiny.save(tmp_path / "log"), "--out", tmp_path / "out") == 0
    assert len(load_dataset(tmp_path / "out").train) == 5
    assert f"wrote {tmp_path / 'out'}" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "says"), [
    (["gowalla", "--out", "x"], "source gowalla needs --source"),
    (["gowalla", "--source", "nowhere", "--out", "x"], "train.npz does not exist; --source must name"),
    (["beibei", "--source", "nowhere", "--out", "x"], "cart_train.txt does not exist; --source must name"),
    (["parquet", "--source", "x", "--out", "./x"], "--source and --out are both x; name another folder"),
    (["synthetic", "--events", "-3", "--out", "x"], "--events is -3; give a number from 1"),
    (["synthetic", "--domains", "4", "--out", "x"], "--domains is 4, but only a world with days has domains"),
    (["synthetic", "--turnover", "0.1", "--out", "x"], "--turnover is 0.1, but nothing ends in a world without days"),
    (["synthetic", "--days", "2", "--context", "--out", "x"], "--context and --days are given, but a world that moves"),
    (["synthetic", "--days", "0", "--out", "x"], "--days is 0; give a number from 1 to 999"),
    (["synthetic", "--days", "3", "--turnover", "1", "--out", "x"], "--turnover is 1; give the share of ads"),
    (["synthetic", "--days", "3", "--events", "9", "--out", "x"], "--events is 9; a world that moves needs at least"),
])
def test_the_command_says_what_is_wrong_and_fails(argv, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 1
    assert says in capsys.readouterr().err


def test_a_log_is_brought_in_by_a_guess_with_its_reasons_told(tmp_path, capsys):
    write_csv(tmp_path / "log.csv", wide())
    named = ("--label", "purchase", "--user-id", "none")
    assert run("infer", tmp_path / "log.csv", "--out", tmp_path / "log", *named) == 0
    said = capsys.readouterr().out
    assert "purchase: purchase\n    you said so" in said.replace("task ", "")
    assert f"python -m model train --data {tmp_path / 'log'} --out RUN" in said
    spec = load_dataset(tmp_path / "log").spec
    assert ([task.name for task in spec.tasks], spec.user_ids) == (["purchase"], False)
    assert run("parquet", tmp_path / "log", "--out", tmp_path / "out") == 0
    assert load_dataset(tmp_path / "out").spec == spec


@pytest.mark.parametrize(("argv", "says"), [
    (["infer", "--out", "x"], "infer needs the log: python -m model data infer LOG --out DIR"),
    (["infer", ".", "--out", "."], "the log and --out are both .; name another folder to write")])
def test_a_guess_needs_a_log_and_another_folder(argv, says, capsys):
    assert run(*argv) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.what for mistake in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_what_to_do(mistake, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mistake.prepare(tmp_path)
    assert run(*mistake.command, "--out", "out") == 1
    said = capsys.readouterr().err
    said = said[said.index("error: "):]  # without the bar of what went well before
    assert said.count("\n") == 1, said
    assert mistake.says in said
    assert not (tmp_path / "out" / "features.json").exists()
    assert f"| {mistake.what} | `{mistake.says}" in (ROOT / "docs" / "data.md").read_text()


def test_the_page_lists_no_other_mistakes():
    table = (ROOT / "docs" / "data.md").read_text().partition("| mistake | message |\n")[2].partition("\n\n")[0]
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[1:]] == [one.what for one in MISTAKES]


@pytest.fixture(scope="module")
def real_data():
    folder = os.environ.get("DATA_DIR")
    if not folder:
        pytest.skip("DATA_DIR is not set; it names the folder that holds taobao-ad, gowalla and beibei")
    return Path(folder)


@pytest.mark.parametrize(("name", "users", "items", "train", "test"), [
    ("taobao-ad", 33_932, 24_624, 227_108, 54_723),
    ("gowalla", 29_858, 40_981, 810_128, 217_242),
    ("beibei", 21_716, 7_977, 642_622 - 13_525, 21_716),
])
def test_a_public_data_set_has_the_published_size(real_data, tmp_path, name, users, items, train, test):
    if not (real_data / name).is_dir():
        pytest.skip(f"DATA_DIR {real_data} holds no {name}")
    assert run(name, "--source", real_data / name, "--out", tmp_path) == 0
    data = load_dataset(tmp_path)
    assert (len(data.user_ids), len(data.items), len(data.train), len(data.test)) == (users, items, train, test)
    if name == "beibei":
        baseline = json.loads((tmp_path / "baseline.json").read_text())
        assert baseline["removed_cart_pairs"] / test == pytest.approx(0.62, abs=0.005)
        assert baseline["carted, not bought"]["recall@20"] == pytest.approx(0.596, abs=0.001)
