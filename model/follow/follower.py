"""The model follower: window by window it measures the serving model, trains the next one from it and promotes that.

    OUT/state.json            what is finished
    OUT/log/                  the log of the first run, in the types of the format, until the first window is finished
    OUT/windows/000001/       a window, and what was made of it:
        events.parquet ...    as model/data/windows.py says
        window.json           written last, before the folder gets its name: the last entry of the change log in it
        log/                  the log with it, on which the run is trained
        progress.json         how well the run before it predicted the window
        run/                  the run
        report.json           what is told of the window

Each of these is complete once it has its name, so whatever a killed follower had finished is kept and the rest is done
again from the same window. Folders that nothing refers to any longer are removed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from index_store.bundle import pointer
from model.config.errors import ConfigError
from model.data.load import joined, load_dataset
from model.data.tables import EVENTS, SPEC, TEST_EVENTS, read_spec
from model.data.windows import Window
from model.evaluation.quality import quality
from model.export.seal import export
from model.follow.growing_log import GrownLog
from model.follow.log_windows import NextWindow
from model.follow.progress import following, progressive
from model.follow.promotion import Promoted, Promoter
from model.follow.state import FollowerState
from model.follow.tree_moves import tree_moves
from model.runs.checkpoint import RunFolder, write_json
from model.runs.run import Run
from model.runs.warm_start import FINE_TUNING
from model.sources import parquet
from model.training.trainer import train

WINDOW, PROGRESS, REPORT = "window.json", "progress.json", "report.json"


class Windows(Protocol):
    """Where windows come from."""

    def next(self, after: int, since: float, log: Path) -> NextWindow | None:
        """The window that follows an entry; see LogWindows."""


@dataclass(frozen=True, kw_only=True)
class ModelFollower:
    """Follows a change log.

    Attributes:
        folder: of its own.
        windows: to learn.
        bundles: folder of bundles to write into.
        promoter: of these bundles.
        users: to measure recall with, 0 for all.
        attribution_window: in seconds, see `attributed`.
    """

    folder: Path
    windows: Windows
    bundles: Path
    promoter: Promoter
    users: int
    attribution_window: float

    def begin(self, run: Path | None) -> FollowerState:
        """The state, that of a new follower if there is none.

        Args:
            run: that serves at the beginning, with its data folder; None to go on.

        Raises:
            ConfigError: there is no run to begin with, or another one than this follower began with, or its log has
                attribution windows.
            DataError: the log of the run cannot be read.
        """
        state = FollowerState.read(self.folder)
        if state is None:
            if run is None:
                raise ConfigError(f"{self.folder} holds no follower yet; name the run that serves with --run")
            RunFolder(run).load_modules({})
            log, data = self.folder / "log", RunFolder(run).config()[1]
            late = [task.name for task in read_spec(data).tasks if task.windows]
            if late:
                raise ConfigError(f"{data} gives windows to {', '.join(late)}, but a follower calibrates on events of "
                                  "its last window, whose late labels are not known yet; follow with a run of a log "
                                  "without windows in features.json")
            parquet.write(data, log)
            events = sum(pq.read_metadata(log / name).num_rows for name in (EVENTS, TEST_EVENTS)
                         if (log / name).exists())
            state = FollowerState(window=0, sequence=0, change_log_id="", ended_at=0.0, run=str(run.resolve()),
                                  log=str(log.resolve()), most_events=events)
            state.write(self.folder)
        elif run is not None and state.window == 0 and state.run != str(run.resolve()):
            raise ConfigError(f"{self.folder} began with the run {state.run}, not {run}; leave --run out, or name "
                              "another --out")
        return state

    def step(self, state: FollowerState) -> tuple[FollowerState, dict[str, Any]] | None:
        """Learns the next window.

        Returns:
            The state after it and the report of the window; None if there is no window.

        Raises:
            ConfigError: the window is of another change log than those before it.
        """
        folder = self.folder / "windows" / f"{state.window + 1:06d}"
        if not folder.exists():
            found = self.windows.next(state.sequence, state.ended_at, Path(state.log))
            if found is None:
                return None
            if state.change_log_id not in ("", found.change_log_id):
                raise ConfigError(f"{self.folder} has learned change log {state.change_log_id} up to entry "
                                  f"{state.sequence}, but this is change log {found.change_log_id}; name the former "
                                  "with --log, or begin anew in another --out")
            _seal(folder, found)
        step = _Step(self, state, folder)
        report = step.report()
        after = replace(state, window=state.window + 1, sequence=report["sequence"],
                        change_log_id=step.sealed["change_log_id"], ended_at=step.sealed["ended_at"],
                        run=report["run"], log=str((folder / "log").resolve()))
        after.write(self.folder)
        self._tidy(after)
        return after, report

    def _tidy(self, state: FollowerState) -> None:
        """Removes the folders that neither the log nor the run that serves lies in: they hold data of users."""
        kept = {Path(state.log).parent, Path(state.run).parent}
        for folder in (self.folder / "log", *(self.folder / "windows").iterdir()):
            if folder.resolve() not in kept:
                shutil.rmtree(folder, ignore_errors=True)
        for left in self.bundles.glob(".follow-*.partial"):
            shutil.rmtree(left)


def _seal(folder: Path, found: NextWindow) -> None:
    """Writes a window; the folder is there once it is complete."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found.window.write(partial)
    write_json(partial / WINDOW, {"sequence": found.sequence, "change_log_id": found.change_log_id,
                                   "ended_at": found.ended_at})
    partial.rename(folder)


class _Step:
    """What is made of one window; each part is made once.

    Args:
        follower: whose window it is.
        state: before it.
        folder: of the window.
    """

    def __init__(self, follower: ModelFollower, state: FollowerState, folder: Path) -> None:
        self._follower, self._state, self._folder = follower, state, folder
        self._log, self._run = folder / "log", folder / "run"
        self._name = f"follow-{state.window + 1:06d}"
        self.sealed: dict[str, Any] = json.loads((folder / WINDOW).read_bytes())

    @cached_property
    def _grown(self) -> GrownLog:
        log = Path(self._state.log)
        return GrownLog.of(log, Window.read(self._folder, read_spec(log)), self._state.most_events,
                           self._follower.attribution_window)

    def report(self) -> dict[str, Any]:
        """Measures, trains, exports and promotes."""
        path = self._folder / REPORT
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_bytes())
            return found
        if not (self._log / SPEC).exists():
            self._grown.write(self._log, *self._grown.split(self._state.window + 1))
        report = {"window": self._state.window + 1, "sequence": self.sealed["sequence"], "progressive": None,
                  "run": self._state.run, "bundle": None, "promoted": False, "refusal": None}
        progress = self._progress()
        if progress is not None:
            self._train()
            moves = tree_moves(Path(self._state.run), self._run)
            self._export({"progressive": progress, **moves})
            promoted = self._follower.promoter.promote(self._name)
            report |= {"progressive": progress, "bundle": self._name, **moves, **_outcome(promoted)}
            if promoted.refusal is None:
                report["run"] = str(self._run.resolve())
        write_json(path, report)
        return report

    def _progress(self) -> dict[str, Any] | None:
        """How well the run before predicted the window; None if the window has no event of a known ad."""
        path = self._folder / PROGRESS
        if not path.exists():
            found = None
            if len(self._grown.new):
                before = self._folder / "before"
                self._grown.write(before, self._grown.older, self._grown.new)
                found = progressive(Path(self._state.run), before, self._folder / "measured", self._follower.users)
                shutil.rmtree(before)
            write_json(path, found)
        progress: dict[str, Any] | None = json.loads(path.read_bytes())
        return progress

    def _train(self) -> None:
        before = Path(self._state.run)
        folder = RunFolder(self._run)
        resume = folder.has_checkpoint
        config = folder.config()[0] if resume else following(RunFolder(before).config()[0], before)
        if not resume and not before.is_relative_to(self._follower.folder.resolve()):
            # The log is mostly what the run has learned already: at full rates it gets worse, not better.
            config = replace(config, learning_rate=FINE_TUNING * config.learning_rate,
                             table_learning_rate=FINE_TUNING * config.table_learning_rate)
        train(self._log, load_dataset(self._log), config, self._run, resume=resume)

    def _export(self, figures: dict[str, Any]) -> None:
        """Seals the bundle, with the events that it was measured on among the histories."""
        out = self._follower.bundles / pointer.check_name(self._name)
        if out.exists():
            return
        run = Run.open(self._run)
        found = quality(run, self._follower.users)
        data = run.dataset
        if data.test is not None:
            data = replace(data, train=joined(data.train, data.test), test=None)
        whole = Run(run.folder, data, run.config)
        whole.load()
        export(whole, out, found | figures, changes_included=self.sealed["sequence"],
               change_log_id=self.sealed["change_log_id"], calibrated_on=run)


def _outcome(promoted: Promoted) -> dict[str, Any]:
    return {"promoted": promoted.refusal is None, "refusal": promoted.refusal, "comparison": promoted.comparison}
