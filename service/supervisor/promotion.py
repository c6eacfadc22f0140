"""Which bundle this replica serves: follows the pointer of its folder of bundles, and moves it for the admin calls.

One bundle at a time is on trial, in a process of its own. What passes is told to all workers; what does not is refused
once, and the bundle that serves goes on serving. docs/decisions/0009-bundle-life.md says why it is so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from index_store.bundle import pointer
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import BundleNameError, Pointer, PointerChangedError, PointerError, Stamp
from service.bundles.control_channel import Call, Failed, Message, Refusal, Release, Reply, Serve, Serving
from service.contract.errors import ErrorType
from service.settings import Settings, variable
from service.supervisor.bundle_listing import listing, serving
from service.supervisor.candidate import Candidate, Fit, Rival, Unfit
from service.supervisor.workers import Worker, Workers
from service.telemetry import metrics
from service.telemetry.request_log import log

_RETRY_SECONDS = 30.0
"""After this time a worker that could not open a sound bundle is told again."""


@dataclass
class _Load:
    """An admin call under way: who asked for what, what the pointer said then, and when an answer is due."""

    asker: Worker
    number: int
    release: Release
    before: Pointer | None
    began: float
    due: float
    comparison: str = ""


@dataclass
class _Trial:
    """A bundle that is being checked, until when, and for whom; `load` is None where the pointer named it."""

    release: Release
    candidate: Candidate
    due: float
    load: _Load | None


_LOOK = "GET /admin/bundles shows what the pointer says and what each worker serves"


class RefusedError(Exception):
    """An admin call cannot be followed."""

    def __init__(self, error_type: ErrorType, message: str, remedy: str, details: str = "") -> None:
        super().__init__(message)
        self.refusal = Refusal(error_type, message, remedy, details)


class Promotion:
    """Decides for one replica.

    Args:
        store: folder of bundles; None where a single bundle is served for good.
        first: what the workers start with.
        workers: who is told.
        spawn: makes the processes of trials.
        settings: of the service.

    Attributes:
        target: the bundle that every worker is to serve.
    """

    def __init__(self, store: Path | None, first: Release, workers: Workers, spawn: SpawnContext,
                 settings: Settings) -> None:
        self._store, self._workers, self._spawn, self._settings = store, workers, spawn, settings
        self.target = first
        self._previous: Release | None = None
        self._stamp: Stamp | None = None
        self._pointer: Pointer | None = None
        self._problem: str | None = None
        self._trial: _Trial | None = None
        self._load: _Load | None = None
        metrics.POINTER_MISMATCH.set(0)

    @property
    def sources(self) -> list[Any]:
        """What to wait for beside the workers."""
        return [] if self._trial is None else [self._trial.candidate.verdict]

    def heard(self, worker: Worker, message: Message) -> None:
        """Takes what a worker says."""
        if isinstance(message, Call):
            try:
                self._called(worker, message)
            except RefusedError as error:
                worker.send(Reply(message.number, error.refusal))
            except OSError as error:
                worker.send(Reply(message.number, Refusal(
                    ErrorType.INTERNAL, f"the folder of bundles cannot be read ({error.strerror})",
                    "see to it that the service may read it")))
        elif isinstance(message, Serving):
            worker.serving, worker.failure = message.release, None
        elif isinstance(message, Failed) and message.release == self.target:
            worker.failure, worker.failed_at = message.reason, time.monotonic()

    def tick(self) -> None:
        """Does what is due: takes a verdict, looks at the pointer, answers calls."""
        now = time.monotonic()
        if self._store is not None:
            self._look(self._store)
        if self._trial is not None and self._trial.candidate.verdict.poll():
            trial, self._trial = self._trial, None
            self._decided(trial, trial.candidate.result())
        elif self._trial is not None and now > self._trial.due:
            trial, self._trial = self._trial, None
            trial.candidate.end()
            seconds, name = self._settings.load_seconds, variable("load_seconds")
            self._decided(trial, Unfit("check", f"the check of bundle {trial.release} has taken {seconds:g} s; have "
                                                f"{name} raised, and load it again"))
        if self._store is not None:  # before the answer, for whoever looks at it then
            metrics.POINTER_MISMATCH.set(self._mismatch())
        if self._load is not None and self._trial is None:
            self._answer_load(self._load, now)
        for worker in self._workers:
            if worker.serving and worker.failure and now > worker.failed_at + _RETRY_SECONDS:
                worker.failure = None
                worker.send(Serve(self.target))

    def end(self) -> None:
        """Stops a trial that runs and answers whoever waits for it; for the service's end."""
        if self._load is not None:
            self._reply(self._load, Refusal(ErrorType.DRAINING, "the service ends before the bundle is loaded",
                                            "ask another replica; this one starts with what the pointer says"))
        if self._trial is not None:
            self._trial.candidate.end()
            self._trial = None

    # What the pointer says.

    def _look(self, store: Path) -> None:
        """Reads the pointer if it was replaced; a trial that is under way is then one for yesterday's pointer."""
        stamp = pointer.stamp(store)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._pointer = pointer.read(store)
        except PointerError as error:
            self._pointer, self._problem = None, str(error)
            self._refuse("pointer", None, str(error))
            return
        if self._load is not None and self._load.release.name == self._pointer.bundle:
            self._load.before = self._pointer  # another replica was asked for the same, and was faster
            return
        self._give_up(f"the pointer says {self._pointer.bundle} since then")
        self._follow(store / self._pointer.bundle)

    def _follow(self, folder: Path) -> None:
        try:
            release = _release(folder)
        except BundleError as error:
            self._problem = str(error)
            self._refuse("broken", folder.name, str(error))
            return
        self._problem = None
        if release == self._previous:
            self._switch(release)
        elif release != self.target:
            self._try(release)

    def _give_up(self, why: str) -> None:
        """Ends what an older pointer or call has begun."""
        load = self._load
        if self._trial is not None:
            self._trial.candidate.end()
            self._trial = None
        if load is not None:
            self._reply(load, Refusal(ErrorType.POINTER_CHANGED, f"{why}: {load.release} is not loaded", _LOOK))

    # What callers ask for.

    def _called(self, worker: Worker, call: Call) -> None:
        if self._store is None:
            raise RefusedError(ErrorType.NO_BUNDLE_STORE, f"this service was started with the single bundle "
                               f"{self.target.folder}, which it serves for good",
                               "start it with a folder of bundles, see `python -m index_store promote`")
        if call.action == "list":
            loading = None if self._trial is None else self._trial.release.name
            worker.send(Reply(call.number, listing(self._store, self._pointer, self._problem, loading, self._workers)))
            return
        if self._load is not None or self._trial is not None:
            busy = self._trial.release.name if self._trial is not None else self.target.name
            raise RefusedError(ErrorType.LOAD_IN_PROGRESS, f"bundle {busy} is being loaded on this replica",
                               f"wait until that is done; {_LOOK}")
        name = call.bundle if call.action == "load" else self._before()
        release = self._named(self._store, name)
        now = time.monotonic()
        load = _Load(worker, call.number, release, self._pointer, now, now + self._settings.load_seconds)
        # A rollback must not wait for a check of what has served already.
        if release == self.target or (call.action == "rollback" and release == self._previous):
            self._promote(self._store, load)
        else:
            self._load = load
            gated = call.action == "load" and not call.force
            self._try(release, load, Rival(self.target.folder, call.requests, self._settings) if gated else None)

    def _before(self) -> str:
        if self._pointer is None or self._pointer.previous is None:
            raise RefusedError(ErrorType.NO_PREVIOUS_BUNDLE, f"the pointer names no bundle before {self.target.name}",
                               "load the bundle that you want by its name")
        return self._pointer.previous

    def _named(self, store: Path, name: str) -> Release:
        try:
            folder = store / pointer.check_name(name)
        except BundleNameError as error:
            raise RefusedError(ErrorType.INVALID_VALUE, str(error), "send the name of a bundle's folder") from error
        if not folder.is_dir():
            raise RefusedError(ErrorType.UNKNOWN_BUNDLE, f"there is no bundle {name} beside the pointer",
                               f"name one of {', '.join(pointer.bundle_names(store)[-8:])}")
        try:
            return _release(folder)
        except BundleError as error:
            raise self._refuse("broken", name, str(error)) from error

    def _promote(self, store: Path, load: _Load) -> None:
        """Writes the pointer, and tells the workers."""
        name = load.release.name
        moved = Pointer(name, self.target.name if self.target.name != name else None) if load.before is None \
            else load.before.to(name)
        try:
            if moved != load.before or load.release != self.target:  # the others look when it is replaced
                self._stamp = pointer.replace(store, moved, load.before)
        except PointerChangedError as error:
            raise RefusedError(ErrorType.POINTER_CHANGED, str(error), _LOOK) from error
        except PointerError as error:
            raise RefusedError(ErrorType.POINTER_UNWRITABLE, str(error), error.remedy) from error
        self._pointer, self._problem, self._load = moved, None, load
        if load.release != self.target:
            self._switch(load.release)

    def _answer_load(self, load: _Load, now: float) -> None:
        """Answers once every worker serves the bundle, or once it is clear that one will not in time."""
        lagging = [worker for worker in self._workers if worker.serving != load.release]
        if not lagging and self._workers.complete:
            self._reply(load, {
                "bundle": load.release.name, "bundle_id": load.release.bundle_id,
                "previous": None if self._pointer is None else self._pointer.previous,
                "seconds": round(now - load.began, 3), "comparison": load.comparison or None,
                "workers": serving(self._workers)})
        elif now > load.due or (lagging and all(worker.failure for worker in lagging)):
            reasons = [f"worker {worker.process_id}: {worker.failure or 'has not reported yet'}" for worker in lagging]
            if not self._workers.complete:
                reasons.append("a worker is being replaced")
            self._reply(load, Refusal(
                ErrorType.LOAD_INCOMPLETE, f"{len(reasons)} of {self._settings.workers} workers do not serve bundle "
                f"{load.release} after {now - load.began:.1f} s, though the pointer says so; {'; '.join(reasons)}",
                f"{_LOOK}; workers that lag go on trying"))

    def _reply(self, load: _Load, outcome: dict[str, Any] | Refusal) -> None:
        self._load = None
        load.asker.send(Reply(load.number, outcome))

    # What comes of a bundle.

    def _try(self, release: Release, load: _Load | None = None, rival: Rival | None = None) -> None:
        due = time.monotonic() + self._settings.load_seconds
        self._trial = _Trial(release, Candidate(self._spawn, release.folder, rival), due, load)

    def _decided(self, trial: _Trial, result: Fit | Unfit) -> None:
        load = trial.load
        if isinstance(result, Unfit):
            refused = self._refuse(result.fault, trial.release.name, result.reason, result.details)
            if load is None:
                self._problem = result.reason
            else:
                self._reply(load, refused.refusal)
        elif load is None:
            self._switch(trial.release)
        elif self._store is not None:
            load.comparison = result.comparison
            try:
                self._promote(self._store, load)
            except RefusedError as error:
                self._reply(load, error.refusal)

    def _switch(self, release: Release) -> None:
        self._previous, self.target = self.target, release
        for worker in self._workers:
            worker.failure = None
        self._workers.tell(Serve(release))

    def _refuse(self, fault: str, name: str | None, reason: str, details: str = "") -> RefusedError:
        metrics.BUNDLE_REFUSED.labels(fault).inc()
        log("bundle_refused", bundle=name, reason=reason, fault=fault, details=details or None)
        remedy = f"bundle {self.target} goes on serving"
        if fault == "worse":
            remedy += "; load it with force: true if you want it all the same"
        return RefusedError(ErrorType.BUNDLE_REFUSED, reason, remedy, details)

    def _mismatch(self) -> int:
        if self._pointer is None or self._pointer.bundle != self.target.name or self._problem is not None:
            return 1
        return int(any(worker.serving not in (None, self.target) for worker in self._workers))


def _release(folder: Path) -> Release:
    """Reads the manifest and the sizes of the files alone."""
    return Release(folder.name, folder, BundleFiles(folder, verify=False).manifest.bundle_id)

