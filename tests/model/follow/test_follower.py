"""The model follower: a killed one goes on where it was, and neither loses nor repeats a window."""

import json
import multiprocessing
import os
import shutil
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Kind
from index_store.changes.sqlite_log import SqliteLog
from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.data.tables import read_spec
from model.follow import follower as module
from model.follow.follower import ModelFollower
from model.follow.gathering import Gathering
from model.follow.growing_log import GrownLog
from model.follow.log_windows import LogWindows, NextWindow
from model.follow.promotion import ByPointer, Promoted
from model.follow.state import FollowerState
from model.runs.checkpoint import RunFolder
from model.sources import parquet
from model.training.trainer import Trainer
from tests.model.follow.logs import WEEK, ad, event, user, written

START = 1_800_000_000
COLUMNS = ("user_id", "ad_id", "timestamp", "click", "conversion")
NEW_AD = {"category": "c1", "brand": "b1", "price_bucket": "p1", "format": "f1", "tags": ["sale"], "quality": 0.5,
          "rating": 0.1}


def writes():
    """Changes of the world of `followed_run`: an ad is born, one ends, one user is forgotten, and some act."""
    rng = np.random.default_rng(0)
    shown = [(f"u{user:02d}", f"a{ad:03d}") for user, ad in zip(rng.integers(2, 80, 240), rng.integers(2, 120, 240),
                                                               strict=True)]
    found = [ad("new", features=NEW_AD, status="active"), ad("a001", status="deleted"), "u01",
             user("someone", interests=["c1"], activity=1.0)]
    for at, (user_id, ad_id) in enumerate([*shown, ("someone", "new"), ("u01", "new")]):
        found.append(event(user_id, ad_id, "impression", START + 10 * at, request_id=f"r{at}"))
        if at % 4 == 0:
            found.append(event(user_id, ad_id, "click", START + 10 * at + 3))
        if at % 5 == 0 and at >= 100:  # a click of another window than its impression
            user_then, ad_then = shown[at - 100]
            found.append(event(user_then, ad_then, "click", START + 10 * at + 5, request_id=f"r{at - 100}"))
    return found


def follower(folder, changes, promoter=None):
    bundles = folder / "bundles"
    size = LogWindows(where=str(changes), events=200, seconds=None, once=True)
    return ModelFollower(folder=folder / "follower", windows=size, bundles=bundles,
                         promoter=promoter or ByPointer(bundles), users=0, attribution_window=WEEK)


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after(function):
    def run(*args, **named):
        function(*args, **named)
        kill()
    return run


def batch_then_killed(self, *args):
    self._save()
    kill()


POINTS = {
    "while the window is written": lambda: setattr(module, "write_json", kill),
    "after the window": lambda: setattr(module, "_seal", killed_after(module._seal)),
    "while the log is written": lambda: setattr(module.GrownLog, "write", kill),
    "after the measure": lambda: setattr(module, "write_json", killed_after(module.write_json)),
    "in the training": lambda: setattr(Trainer, "_step", batch_then_killed),
    "after the training": lambda: setattr(module, "train", killed_after(module.train)),
    "after the export": lambda: setattr(module, "export", killed_after(module.export)),
    "after the promotion": lambda: setattr(ByPointer, "promote", killed_after(ByPointer.promote)),
    "before the state": lambda: setattr(FollowerState, "write", kill),
    "before the old windows are removed": lambda: setattr(ModelFollower, "_tidy", kill),
}
"""Where a follower is killed: what plants it in its process, in the order in which one step passes the points."""

IN_EACH_RUN = ("while the log is written", "in the training", "after the export",
               "before the old windows are removed")
"""Points of each run of the tests; `make long` has all of them."""


def step_until_killed(folder, changes, point):
    torch.set_num_threads(1)
    POINTS[point]()
    one = follower(folder, changes)
    one.step(one.begin(None))


class Refusing:
    """A promoter that refuses all bundles."""

    def promote(self, name):
        return Promoted(refusal=f"{name} is worse")


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    return written(tmp_path_factory.mktemp("changes") / "changes.sqlite3", writes())


@pytest.fixture(scope="module")
def followed(tmp_path_factory, followed_run, changes):
    """What a follower made of both windows of a change log, see `follow_killed`."""
    return follow_killed(tmp_path_factory.mktemp("followed"), followed_run, changes, IN_EACH_RUN)


def follow_killed(folder, followed_run, changes, points):
    """The folder of a follower, its states after both windows of a change log, and the reports.

    In the first window it was killed at each of the points; the bundle of the second one was refused.
    """
    for name in ("bundles", "follower"):
        (folder / name).mkdir()
    one = follower(folder, changes)
    one.begin(followed_run)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.model.follow.test_follower"])
    for point in points:
        child = context.Process(target=step_until_killed, args=(folder, changes, point))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL, point
    state = one.begin(None)
    reports = [json.loads((Path(state.log).parent / module.REPORT).read_text())]
    second = follower(folder, changes, Refusing())
    last, report = second.step(state)
    assert second.step(last) is None
    return folder, state, last, [*reports, report]


def test_a_killed_follower_has_learned_each_window_once(followed, followed_run, changes, tmp_path):
    each_window_was_learned_once(followed, followed_run, changes, tmp_path)


@pytest.mark.long
def test_a_follower_has_learned_each_window_once_wherever_it_was_killed(tmp_path, followed_run, changes):
    each_window_was_learned_once(follow_killed(tmp_path, followed_run, changes, POINTS), followed_run, changes,
                                 tmp_path)


def each_window_was_learned_once(followed, followed_run, changes, tmp_path):
    folder, first, last, reports = followed
    assert (first.window, last.window) == (1, 2)
    log = tmp_path / "log"
    parquet.write(RunFolder(followed_run).config()[1], log)
    with closing(SqliteLog(changes, "ads")) as opened:
        entries, whole = opened.read(0), Gathering(log, read_spec(log))
        assert last.sequence == len(entries)
        assert sum(entry.kind is Kind.EVENT for entry in entries[:first.sequence]) == 200
        whole.add(entries)
    grown = GrownLog.of(log, whole.window(), first.most_events, WEEK)
    expected = sorted(zip(*(pa.concat_tables([grown.older, grown.new])[name].to_pylist() for name in COLUMNS),
                          strict=True))
    learned = pa.concat_tables([pq.read_table(Path(last.log) / name) for name in ("events.parquet",
                                                                                  "test_events.parquet")])
    assert sorted(zip(*(learned[name].to_pylist() for name in COLUMNS), strict=True)) == expected
    assert sorted(path.name for path in (folder / "bundles").iterdir()) == [
        "current", "follow-000001", "follow-000002"]
    assert [report["sequence"] for report in reports] == [first.sequence, last.sequence]


def test_a_window_of_another_change_log_is_refused_with_both_ids(tmp_path, changes):
    state = FollowerState(window=3, sequence=1, change_log_id="c0ffee", ended_at=1.0, run="run",
                          log="log", most_events=100)
    one = follower(tmp_path, changes)

    class Elsewhere:
        def next(self, *_):
            return NextWindow(window=None, sequence=9, ended_at=2.0, change_log_id="decaf")

    with pytest.raises(ConfigError, match="change log c0ffee up to entry 1, but this is change log decaf; name the"):
        replace(one, windows=Elsewhere()).step(state)
    assert not list(tmp_path.iterdir())


def test_windows_are_measured_before_they_are_learned_and_the_moves_of_the_tree_told(followed):
    for number, report in enumerate(followed[3], start=1):
        assert (report["window"], report["bundle"]) == (number, f"follow-00000{number}")
        assert 0 < report["progressive"]["ne"]["click"] < 10
        assert 0 <= report["progressive"]["recall@20"] <= 1
        assert report["moved"] == report["changed_prefixes"][-1]
        assert len(report["changed_prefixes"]) == 2


def test_the_bundle_has_what_is_new_and_lacks_what_is_gone(followed):
    bundle = Bundle.open(followed[0] / "bundles" / "follow-000002")
    ads, users = bundle.content.encoder.item_ids, bundle.content.users
    assert bundle.manifest.changes_included == followed[2].sequence
    assert bundle.manifest.change_log_id == followed[2].change_log_id
    assert b"new" in ads
    assert b"a001" not in ads
    assert [ads[row] for row in users.history.row(users.row(b"someone"))] == [b"new"]
    assert not [row for row in users.history.row(users.row(b"u01")) if ads[row] != b"new"]
    evaluation = json.loads((followed[0] / "bundles" / "follow-000002" / "evaluation.json").read_text())
    assert evaluation["progressive"] == followed[3][1]["progressive"]
    assert evaluation["changed_prefixes"] == followed[3][1]["changed_prefixes"]


def test_all_events_of_a_window_are_in_the_histories_of_its_bundle(followed):
    folder, _, last, _ = followed
    data = load_dataset(Path(last.log))
    clicks = int(data.train.labels[:, 0].sum() + data.test.labels[:, 0].sum())
    assert data.test.labels[:, 0].sum()
    assert Bundle.open(folder / "bundles" / "follow-000002").content.users.history.values.size == clicks


def test_the_bundle_is_calibrated_on_the_events_that_were_kept_from_the_training(followed):
    folder, _, last, _ = followed
    bundle = Bundle.open(folder / "bundles" / "follow-000002")
    assert bundle.content.calibrations is not None
    evaluation = json.loads((folder / "bundles" / "follow-000002" / "evaluation.json").read_text())
    halves = evaluation["calibration"]["click"]
    assert halves["fitted_on"] + halves["measured_on"] == len(load_dataset(Path(last.log)).test)


def test_runs_learn_at_a_tenth_of_the_rates_of_the_first_one(followed, followed_run):
    first, *others = (RunFolder(path).config()[0] for path in (followed_run, Path(followed[1].run),
                                                               Path(followed[2].log).parent / "run"))
    for config in others:
        assert config.learning_rate == pytest.approx(first.learning_rate / 10)
        assert config.table_learning_rate == pytest.approx(first.table_learning_rate / 10)


def test_a_refused_bundle_is_not_served_and_not_started_from(followed):
    folder, first, last, reports = followed
    assert pointer.read(folder / "bundles") == pointer.Pointer("follow-000001")
    assert [report["refusal"] for report in reports] == [None, "follow-000002 is worse"]
    assert last.run == first.run == reports[1]["run"]
    assert Path(last.run).parent.name == "000001"
    assert Path(last.log).parent.name == "000002"
    assert sorted(path.name for path in (folder / "follower" / "windows").iterdir()) == ["000001", "000002"]
    assert sorted(path.name for path in (folder / "follower").iterdir()) == ["state.json", "windows"]


def test_a_follower_needs_a_run_to_begin_with_and_keeps_it(tmp_path, followed_run, changes):
    one = follower(tmp_path, changes)
    one.folder.mkdir()
    with pytest.raises(ConfigError, match="holds no follower yet; name the run that serves with --run"):
        one.begin(None)
    state = one.begin(followed_run)
    assert one.begin(None) == one.begin(followed_run) == state
    with pytest.raises(ConfigError, match="began with the run"):
        one.begin(tmp_path)


def test_a_log_with_late_labels_is_not_followed(tmp_path, followed_run, changes):
    shutil.copytree(followed_run.parent, tmp_path / "late")
    declared = tmp_path / "late" / "data" / "features.json"
    content = json.loads(declared.read_text())
    content["tasks"][1] |= {"windows": [1, 24], "time": "conversion_at"}
    declared.write_text(json.dumps(content))
    settings = tmp_path / "late" / "run" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"data": str(declared.parent)}))
    one = follower(tmp_path, changes)
    one.folder.mkdir()
    with pytest.raises(ConfigError, match="gives windows to conversion, but a follower calibrates on events"):
        one.begin(tmp_path / "late" / "run")
