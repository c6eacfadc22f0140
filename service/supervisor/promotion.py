"""Promotion: follows the pointer of the folder of bundles, and sets it for admin calls.

One bundle at a time is checked, in a separate process. If it passes, the workers switch to it; if not, it is refused
once and the current bundle keeps serving. docs/decisions/0009-bundle-life.md has the reasons.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index_store.bundle import pointer
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer, PointerChangedError, PointerError
from index_store.bundle.shared_file import Stamp
from service.bundles.control_channel import (
    Call,
    Failed,
    Message,
    Refusal,
    Release,
    Reply,
    Serve,
    Serving,
    TrialFailed,
    Try,
    Trying,
)
from service.contract.errors import ErrorType
from service.live.log_place import LogPlace
from service.settings import Settings, variable
from service.shards.shard_access import ShardAccess
from service.supervisor.bundle_listing import listing, serving
from service.supervisor.candidate import Candidate, Incumbent, Rejected, Verdict
from service.supervisor.processes import Processes
from service.supervisor.releases import RefusedError, named, release_of
from service.supervisor.trials import Trials
from service.supervisor.workers import Worker, Workers
from service.telemetry import metrics
from service.telemetry.request_log import log

_RETRY_SECONDS = 30.0
"""After this time a worker that could not open a sound bundle is asked again."""


@dataclass
class _Load:
    """An admin call in progress.

    Attributes:
        caller: the worker that forwarded it.
        number: of the call, within that worker.
        release: what is to be loaded.
        before: the pointer when the call came.
        began, due: when the call came and when its answer is due, in seconds of `time.monotonic()`.
        comparison: table of the gate, empty where there was none.
    """

    caller: Worker
    number: int
    release: Release
    before: Pointer | None
    began: float
    due: float
    comparison: str = ""


@dataclass
class _Check:
    """A running check, its due time, and the admin call that asked for it; None if the pointer named the bundle."""

    release: Release
    candidate: Candidate
    due: float
    load: _Load | None


_LOOK = "GET /admin/bundles shows the pointer and what each worker serves"


class Promotion:
    """Decides which bundle one replica serves.

    Args:
        store: folder of bundles; None if a single bundle is served.
        first: what the workers start with.
        workers: of this replica.
        processes: starts those of checks.
        settings: of the service.

    Attributes:
        target: the bundle that every worker should serve.
    """

    def __init__(self, store: Path | None, first: Release, workers: Workers, processes: Processes,
                 settings: Settings) -> None:
        self._store, self._workers, self._processes, self._settings = store, workers, processes, settings
        self.target = first
        self._previous: Release | None = None
        self._stamp: Stamp | None = None
        self._pointer: Pointer | None = None
        self._problem: str | None = None
        self._check: _Check | None = None
        self._load: _Load | None = None
        self._trials = Trials(store, workers, processes, settings)
        metrics.POINTER_MISMATCH.set(0)

    @property
    def sources(self) -> list[Any]:
        """What to wait on besides the workers."""
        return [*([] if self._check is None else [self._check.candidate.verdict]), *self._trials.sources]

    def heard(self, worker: Worker, message: Message) -> None:
        """Handles a message of a worker."""
        if isinstance(message, Call):
            try:
                self._called(worker, message)
            except RefusedError as error:
                worker.send(Reply(message.number, error.refusal))
            except OSError as error:
                worker.send(Reply(message.number, Refusal(
                    ErrorType.INTERNAL, f"the folder of bundles cannot be read ({error.strerror})",
                    "give the service the right to read it")))
        elif isinstance(message, Serving):
            worker.serving, worker.failure = message.release, None
            worker.told = worker.tried = Try()  # a swap ends what was on trial
        elif isinstance(message, Trying):
            worker.told = worker.tried = message.tried
        elif isinstance(message, TrialFailed):
            self._trials.heard(message)
        elif isinstance(message, Failed) and message.release == self.target:
            worker.failure, worker.failed_at = message.reason, time.monotonic()

    def tick(self) -> None:
        """Does what is due: polls the pointer, collects a verdict, answers calls."""
        now = time.monotonic()
        if self._store is not None:
            self._look(self._store)
        if self._check is not None:
            self._take_verdict(self._check, now)
        if self._store is not None:  # before the answer: a caller may read the metric next
            metrics.POINTER_MISMATCH.set(self._mismatch())
        if self._load is not None and self._check is None:
            self._answer_load(self._load, now)
        self._trials.tick(self.target, self._pointer)
        for worker in self._workers:
            if worker.serving and worker.failure and now > worker.failed_at + _RETRY_SECONDS:
                worker.failure = None
                worker.send(Serve(self.target))

    def _take_verdict(self, check: _Check, now: float) -> None:
        if check.candidate.verdict.poll():
            self._check = None
            self._decided(check, check.candidate.result())
        elif now > check.due:
            self._check = None
            check.candidate.end()
            self._decided(check, Rejected(
                "check", f"the check of bundle {check.release} has taken {self._settings.load_seconds:g} s",
                f"raise {variable('load_seconds')}, then load it again"))

    def end(self) -> None:
        """Stops a running check and answers the call that waits for it, at the end of the service."""
        if self._load is not None:
            self._reply(self._load, Refusal(ErrorType.DRAINING, "the service ends before the bundle is loaded",
                                            "ask another replica; at its next start this one follows the pointer"))
        if self._check is not None:
            self._check.candidate.end()
            self._check = None
        self._trials.end()

    # The pointer.

    def _look(self, store: Path) -> None:
        """Reads the pointer if it was replaced; a running check was then for an older pointer."""
        stamp = pointer.stamp(store)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._pointer = pointer.read(store)
        except PointerError as error:
            self._pointer, self._problem = None, str(error)
            self._refuse(None, Rejected("pointer", error.fact, error.remedy))
            return
        if self._load is not None and self._load.release.name == self._pointer.bundle:
            self._load.before = self._pointer  # another replica was asked for the same, and was faster
            return
        self._give_up(f"the pointer says {self._pointer.bundle} since then")
        self._follow(store / self._pointer.bundle)

    def _follow(self, folder: Path) -> None:
        try:
            release = release_of(folder)
        except BundleError as error:
            self._problem = str(error)
            self._refuse(folder.name, Rejected("broken", error.fact, error.remedy))
            return
        self._problem = None
        if release == self._previous:
            self._switch(release)
        elif release != self.target:
            self._start_check(release)

    def _give_up(self, why: str) -> None:
        """Cancels what an older pointer or call has started."""
        load = self._load
        if self._check is not None:
            self._check.candidate.end()
            self._check = None
        if load is not None:
            self._reply(load, Refusal(ErrorType.POINTER_CHANGED, f"{why}: {load.release} is not loaded", _LOOK))

    # Admin calls.

    def _called(self, worker: Worker, call: Call) -> None:
        if self._store is None:
            raise RefusedError(ErrorType.NO_BUNDLE_STORE, f"this service was started with the single bundle "
                               f"{self.target.folder} and cannot switch",
                               "start it with a folder of bundles, see `python -m index_store promote`")
        if call.action == "list":
            loading = None if self._check is None else self._check.release.name
            listed = listing(self._store, self._pointer, self._problem, loading, self._workers)
            worker.send(Reply(call.number, listed | self._trials.described()))
            return
        if call.action in ("try", "end"):
            self._trials.called(worker, call, self.target, self._pointer)
            return
        if self._load is not None or self._check is not None:
            busy = self._check.release.name if self._check is not None else self.target.name
            raise RefusedError(ErrorType.LOAD_IN_PROGRESS, f"bundle {busy} is being loaded on this replica",
                               f"wait until that is done; {_LOOK}")
        name = call.bundle if call.action == "load" else self._before()
        release = self._named(self._store, name)
        now = time.monotonic()
        load = _Load(worker, call.number, release, self._pointer, now, now + self._settings.load_seconds)
        # A rollback must not wait for a check of a bundle that has served already.
        if release == self.target or (call.action == "rollback" and release == self._previous):
            self._promote(self._store, load)
        else:
            self._load = load
            gated = call.action == "load" and not call.force
            incumbent = Incumbent.of(self.target, release, call.requests, self._settings) if gated else None
            self._start_check(release, load, incumbent)

    def _before(self) -> str:
        if self._pointer is None or self._pointer.previous is None:
            raise RefusedError(ErrorType.NO_PREVIOUS_BUNDLE, f"the pointer names no bundle before {self.target.name}",
                               "load the bundle that you want by its name")
        return self._pointer.previous

    def _named(self, store: Path, name: str) -> Release:
        try:
            return named(store, name)
        except BundleError as error:
            raise self._refuse(name, Rejected("broken", error.fact, error.remedy)) from error

    def _promote(self, store: Path, load: _Load) -> None:
        """Writes the pointer and notifies the workers."""
        name = load.release.name
        moved = Pointer(name, self.target.name if self.target.name != name else None) if load.before is None \
            else load.before.to(name)
        try:
            if moved != load.before or load.release != self.target:  # the others look when it is replaced
                self._stamp = pointer.replace(store, moved, load.before)
        except PointerChangedError as error:
            raise RefusedError(ErrorType.POINTER_CHANGED, error.fact, _LOOK) from error
        except PointerError as error:
            raise RefusedError(ErrorType.POINTER_UNWRITABLE, error.fact, error.remedy) from error
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
                f"{load.release} after {now - load.began:.1f} s, although the pointer names it; {'; '.join(reasons)}",
                f"{_LOOK}; lagging workers keep trying"))

    def _reply(self, load: _Load, outcome: dict[str, Any] | Refusal) -> None:
        self._load = None
        load.caller.send(Reply(load.number, outcome))

    # Checks and what follows from them.

    def _start_check(self, release: Release, load: _Load | None = None, incumbent: Incumbent | None = None) -> None:
        due = time.monotonic() + self._settings.load_seconds
        candidate = Candidate(self._processes, release.folder, LogPlace.of(self._settings), incumbent,
                              shards=ShardAccess.of(self._settings))
        self._check = _Check(release, candidate, due, load)

    def _decided(self, check: _Check, verdict: Verdict) -> None:
        load = check.load
        if isinstance(verdict, Rejected):
            refused = self._refuse(check.release.name, verdict)
            if load is None:
                self._problem = verdict.reason
            else:
                self._reply(load, refused.refusal)
        elif load is None:
            self._switch(check.release)
        elif self._store is not None:
            load.comparison = verdict.comparison
            try:
                self._promote(self._store, load)
            except RefusedError as error:
                self._reply(load, error.refusal)

    def _switch(self, release: Release) -> None:
        self._previous, self.target = self.target, release
        for worker in self._workers:
            worker.failure = None
        self._workers.tell(Serve(release))

    def _refuse(self, name: str | None, why: Rejected) -> RefusedError:
        """Counts and logs a bundle, or the pointer, that is not followed; the error is for a call that waits for it."""
        metrics.BUNDLE_REFUSED.labels(why.fault).inc()
        log("bundle_refused", bundle=name, reason=why.reason, fault=why.fault, details=why.details or None)
        return RefusedError(ErrorType.BUNDLE_REFUSED, why.fact,
                            f"{why.remedy}; bundle {self.target} keeps serving", why.details)

    def _mismatch(self) -> int:
        if self._pointer is None or self._pointer.bundle != self.target.name or self._problem is not None:
            return 1
        return int(any(worker.serving not in (None, self.target) for worker in self._workers))
