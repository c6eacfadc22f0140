"""Steps from a log to a bundle: what exists is kept, what follows a new result is made anew, failures are named."""

from pathlib import Path

import pytest

from index_store.bundle.manifest import MANIFEST
from loadtest.demo import steps
from loadtest.demo.steps import SYNTHETIC, DemoError, Source, StepCost, WorldSize, make_bundle, run_step
from loadtest.processes.children import Children

RESULTS = ("data/features.json", "run/finished", f"bundle/{MANIFEST}")


@pytest.fixture
def commands(monkeypatch):
    """The commands that would run, in their order; each makes its folder and nothing else."""
    ran = []

    def note(children, title, arguments):
        ran.append(arguments[2:])
        Path(arguments[arguments.index("--out") + 1]).mkdir(exist_ok=True)
        return StepCost(title, 0.0, 0)

    monkeypatch.setattr(steps, "run_step", note)
    return ran


def finished(folder, *results):
    for name in results:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_nothing_runs_when_every_result_exists(tmp_path, commands, capsys):
    finished(tmp_path, *RESULTS)
    assert make_bundle(None, tmp_path, SYNTHETIC, WorldSize()) == tmp_path / "bundle"
    assert commands == []
    assert capsys.readouterr().out.count("exists already") == 3


def test_later_results_are_made_anew_when_an_earlier_one_is(tmp_path, commands):
    finished(tmp_path, "data/features.json", f"bundle/{MANIFEST}")
    (tmp_path / "bundle" / "of-another-run").write_text("")
    made = []
    make_bundle(None, tmp_path, SYNTHETIC, WorldSize(), note=lambda name, cost: made.append(name))
    assert [words[0] for words in commands] == ["train", "export"]
    assert made == ["run", "bundle"]
    assert (tmp_path / "run" / "finished").exists()
    assert not (tmp_path / "bundle" / "of-another-run").exists()


def test_an_interrupted_training_is_resumed(tmp_path, commands):
    finished(tmp_path, "data/features.json", "run/weights.safetensors")
    make_bundle(None, tmp_path, SYNTHETIC, WorldSize())
    assert commands[0] == ["train", "--out", str(tmp_path / "run"), "--resume"]


def test_a_real_log_is_read_from_its_folder_and_trained_with_the_defaults(tmp_path, commands):
    source = Source("taobao-ad", tmp_path / "log")
    make_bundle(None, tmp_path, source, WorldSize(), over_arch="dot")
    assert commands[0] == ["data", "taobao-ad", "--out", str(tmp_path / "data"), "--source", str(tmp_path / "log")]
    assert commands[1] == ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run_dot"),
                           "--minutes", "0", "--over-arch", "dot"]


def test_a_step_that_succeeds_says_what_it_cost(capsys):
    with Children() as children:
        cost = run_step(children, "[1/1] something", ["-c", "x = bytearray(50_000_000)"])
    assert cost.command == "python -c 'x = bytearray(50_000_000)'"
    assert cost.peak_bytes > 50_000_000
    assert "[1/1] something: done in" in capsys.readouterr().out


def test_a_step_that_fails_is_named_with_its_exit_code():
    said = r"\[1/1\] something failed with exit code 3.*exit\(3\)"
    with Children() as children, pytest.raises(DemoError, match=said):
        run_step(children, "[1/1] something", ["-c", "exit(3)"])
