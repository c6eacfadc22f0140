"""Trials: has bundles on trial beside the one that serves, as the file of trials says, and sets it for admin calls.

A bundle is checked before it is on trial, as one that is to serve is. A trial that fails anywhere ends everywhere: a
user would else be on one side in one replica and on the other in the next. docs/decisions/0038-trials.md has the
reasons.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index_store.bundle import trials
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer, PointerChangedError, PointerError
from index_store.bundle.shared_file import Stamp
from index_store.bundle.trials import ROLES, Role, Trial
from service.bundles.control_channel import Call, Refusal, Release, Reply, TrialFailed, Try
from service.contract.errors import ErrorType
from service.live.log_place import LogPlace
from service.settings import Settings, variable
from service.shards.shard_access import ShardAccess
from service.supervisor.candidate import Candidate, Incumbent, Rejected, Verdict
from service.supervisor.processes import Processes
from service.supervisor.releases import RefusedError, named, release_of
from service.supervisor.workers import Worker, Workers
from service.telemetry import metrics
from service.telemetry.request_log import log

_LOOK = "GET /admin/bundles shows what is on trial"


@dataclass
class _Call:
    """An admin call in progress: who forwarded it under which number, its role, when it came and is due."""

    caller: Worker
    number: int
    role: Role
    began: float
    due: float
    comparison: str = ""


@dataclass
class _Check:
    """A running check; `call` is None if the file named the bundle."""

    trial: Trial
    release: Release
    candidate: Candidate
    due: float
    call: _Call | None


class Trials:
    """Decides which bundles one replica has on trial.

    Args:
        store: folder of bundles; None if a single bundle is served, which has none beside it.
        workers: of this replica.
        processes: starts those of checks.
        settings: of the service.
    """

    def __init__(self, store: Path | None, workers: Workers, processes: Processes, settings: Settings) -> None:
        self._store, self._workers, self._processes, self._settings = store, workers, processes, settings
        self._stamp: Stamp | None = None
        self._state = trials.Trials()
        self._problem: str | None = None
        self._passed: dict[Role, Release] = {}
        self._dropped: dict[Role, Trial] = {}
        self._checks: dict[Role, _Check] = {}
        self._call: _Call | None = None

    @property
    def sources(self) -> list[Any]:
        """What to wait on besides the workers."""
        return [check.candidate.verdict for check in self._checks.values()]

    def described(self) -> dict[str, Any]:
        """What is on trial, and why the last ones no longer are."""
        running: dict[str, Any] = {role: None if trial is None else {
            "bundle": trial.bundle, "beside": trial.beside, "share": trial.share if role == "canary" else None,
            "ready": role in self._passed} for role in ROLES for trial in [self._state.running.get(role)]}
        ended = {role: asdict(entry) for role, entry in self._state.ended.items()}
        return {**running, "ended": {role: ended.get(role) for role in ROLES}, "trials_problem": self._problem}

    def called(self, worker: Worker, call: Call, target: Release, pointer: Pointer | None) -> None:
        """Begins what an admin call asks for.

        Raises:
            RefusedError: it cannot be done.
        """
        assert self._store is not None
        if self._call is not None or call.role in self._checks:
            raise RefusedError(ErrorType.LOAD_IN_PROGRESS, "a trial is being begun or ended on this replica",
                               f"wait until that is done; {_LOOK}")
        now = time.monotonic()
        asked = _Call(worker, call.number, call.role, now, now + self._settings.load_seconds)
        if call.action == "end":
            if call.role not in self._state.running:
                raise RefusedError(ErrorType.NO_TRIAL, f"there is no {call.role}", _LOOK)
            self._end(call.role, "an admin call ended it")
            self._call = asked
        else:
            self._begin(asked, call, target, pointer)

    def heard(self, message: TrialFailed) -> None:
        """Drops a bundle that a worker cannot have on trial."""
        role, call = message.role, self._call
        if self._passed.get(role) != message.release or role not in self._state.running:
            return
        self._drop(role, self._state.running[role], "worker", message.reason)
        if call is not None and call.role == role:
            self._reply(call, Refusal(ErrorType.BUNDLE_REFUSED, f"bundle {message.release} cannot be the {role}: "
                                      f"{message.reason}", "look for the reason in the log, then try again"))

    def tick(self, target: Release, pointer: Pointer | None) -> None:
        """Does what is due: reads the file, collects verdicts, tells workers, answers calls.

        Args:
            target: the bundle that every worker should serve.
            pointer: the pointer; None if it cannot be read.
        """
        if self._store is None:
            return
        now = time.monotonic()
        self._look(self._store)
        for role, trial in self._state.running.items():
            if pointer is not None and trial.beside != pointer.bundle and self._dropped.get(role) != trial:
                self._end_or_note(role, trial, f"the pointer says {pointer.bundle} since then")
        for role, check in list(self._checks.items()):
            self._collect(role, check, now)
        for role, trial in self._state.running.items():
            if trial.beside == target.name and not (role in self._passed or role in self._checks
                                                    or self._dropped.get(role) == trial):
                self._follow(role, trial, target)
        wanted = self._wanted(target)
        for worker in self._workers:
            if worker.serving == target and worker.told != wanted:
                worker.told = wanted
                worker.send(wanted)
        if self._call is not None and self._call.role not in self._checks:
            self._answer(self._call, wanted, target, now)

    def end(self) -> None:
        """Stops running checks and answers the call that waits, at the end of the service."""
        for check in self._checks.values():
            check.candidate.end()
        self._checks.clear()
        if self._call is not None:
            self._reply(self._call, Refusal(ErrorType.DRAINING, "the service ends before the trial has begun",
                                            "ask another replica"))

    # The file.

    def _look(self, store: Path) -> None:
        """Reads the file if it was replaced; checks and approvals of other trials than it names lapse."""
        stamp = trials.stamp(store)
        if stamp == self._stamp:
            return
        self._stamp, before = stamp, self._state
        try:
            self._state, self._problem = trials.read(store), None
        except PointerError as error:
            self._state, self._problem = trials.Trials(), str(error)
            log("trials_unreadable", reason=str(error))
        for role in ROLES:
            old, new = before.running.get(role), self._state.running.get(role)
            if new is None or old is None or (old.bundle, old.beside) != (new.bundle, new.beside):
                self._forget(role)

    def _forget(self, role: Role) -> None:
        self._passed.pop(role, None)
        self._dropped.pop(role, None)
        if role in self._checks and self._checks[role].call is None:
            self._checks.pop(role).candidate.end()

    def _write(self, state: trials.Trials) -> None:
        """Replaces the file; raises RefusedError if it was replaced meanwhile, or cannot be."""
        assert self._store is not None
        try:
            self._stamp = trials.replace(self._store, state, self._state)
        except PointerChangedError as error:
            raise RefusedError(ErrorType.POINTER_CHANGED, error.fact, _LOOK) from error
        except PointerError as error:
            raise RefusedError(ErrorType.POINTER_UNWRITABLE, error.fact, error.remedy) from error
        self._state = state

    def _end(self, role: Role, reason: str) -> None:
        trial = self._state.running[role]
        self._write(self._state.without(role, reason))
        self._forget(role)
        log("trial_ended", role=role, bundle=trial.bundle, reason=reason)

    def _end_or_note(self, role: Role, trial: Trial, reason: str) -> None:
        """Ends a trial here at least, where the file cannot be replaced."""
        try:
            self._end(role, reason)
        except RefusedError as error:
            self._forget(role)
            self._dropped[role], self._problem = trial, f"{trial.bundle}: {reason}; {error}"

    # Checks and what follows from them.

    def _begin(self, asked: _Call, call: Call, target: Release, pointer: Pointer | None) -> None:
        assert self._store is not None
        role, running = call.role, self._state.running.get(call.role)
        try:
            release = named(self._store, call.bundle)
        except BundleError as error:
            raise self._refused(role, call.bundle, Rejected("broken", error.fact, error.remedy)) from error
        if release.name == target.name:
            raise RefusedError(ErrorType.INVALID_VALUE, f"bundle {release.name} is the current one, which answers "
                               "already", "name another bundle")
        if pointer is None or pointer.bundle != target.name:
            raise RefusedError(ErrorType.POINTER_CHANGED, f"this replica serves {target.name}, and the pointer says "
                               f"{None if pointer is None else pointer.bundle}", "wait until they agree")
        if running is not None and running.bundle != release.name:
            raise RefusedError(ErrorType.TRIAL_RUNNING, f"bundle {running.bundle} is the {role}, so {release.name} "
                               "cannot be", f"end that with DELETE /admin/{role} first")
        trial = Trial(release.name, target.name, call.share if role == "canary" else 0.0)
        if role in self._passed:  # it is on trial, and gets another share
            self._write(self._state.to(role, trial))
        else:
            gated = role == "canary" and not call.force
            incumbent = Incumbent.of(target, release, call.requests, self._settings) if gated else None
            self._checks[role] = _Check(trial, release, self._candidate(release, target, incumbent), asked.due, asked)
        self._call = asked

    def _follow(self, role: Role, trial: Trial, target: Release) -> None:
        assert self._store is not None
        try:
            release = release_of(self._store / trial.bundle)
        except BundleError as error:
            self._drop(role, trial, "broken", str(error))
            return
        self._checks[role] = _Check(trial, release, self._candidate(release, target, None),
                                    time.monotonic() + self._settings.load_seconds, None)

    def _candidate(self, release: Release, target: Release, incumbent: Incumbent | None) -> Candidate:
        return Candidate(self._processes, release.folder, LogPlace.of(self._settings), incumbent, target.folder,
                         ShardAccess.of(self._settings))

    def _collect(self, role: Role, check: _Check, now: float) -> None:
        if check.candidate.verdict.poll():
            del self._checks[role]
            self._decided(role, check, check.candidate.result())
        elif now > check.due:
            del self._checks[role]
            check.candidate.end()
            self._decided(role, check, Rejected(
                "check", f"the check of bundle {check.release} has taken {self._settings.load_seconds:g} s",
                f"raise {variable('load_seconds')}, then try again"))

    def _decided(self, role: Role, check: _Check, verdict: Verdict) -> None:
        call = check.call
        if isinstance(verdict, Rejected):
            if call is None:
                self._drop(role, check.trial, verdict.fault, verdict.reason)
            else:
                self._reply(call, self._refused(role, check.release.name, verdict).refusal)
            return
        if call is not None:
            call.comparison = verdict.comparison
            running = self._state.running.get(role)
            try:
                if running is not None and running.bundle != check.trial.bundle:
                    raise RefusedError(ErrorType.TRIAL_RUNNING, f"bundle {running.bundle} became the {role} meanwhile, "
                                       f"so {check.trial.bundle} cannot be", _LOOK)
                self._write(self._state.to(role, check.trial))
            except RefusedError as error:
                self._reply(call, error.refusal)
                return
            self._dropped.pop(role, None)
        self._passed[role] = check.release
        log("trial_begun", role=role, bundle=check.release.name, bundle_id=check.release.bundle_id,
            share=check.trial.share)

    def _drop(self, role: Role, trial: Trial, fault: str, reason: str) -> None:
        metrics.TRIALS_DROPPED.labels(role, fault).inc()
        log("trial_dropped", role=role, bundle=trial.bundle, reason=reason, fault=fault)
        self._end_or_note(role, trial, reason)

    def _refused(self, role: Role, name: str, why: Rejected) -> RefusedError:
        metrics.TRIALS_DROPPED.labels(role, why.fault).inc()
        log("trial_dropped", role=role, bundle=name, reason=why.reason, fault=why.fault)
        return RefusedError(ErrorType.BUNDLE_REFUSED, why.fact, why.remedy, why.details)

    # Workers and calls.

    def _wanted(self, target: Release) -> Try:
        """What the workers are to have on trial."""
        ready = {role: trial for role, trial in self._state.running.items()
                 if role in self._passed and trial.beside == target.name}
        canary, shadow = ready.get("canary"), ready.get("shadow")
        return Try(None if canary is None else self._passed["canary"], 0.0 if canary is None else canary.share,
                   None if shadow is None else self._passed["shadow"])

    def _answer(self, call: _Call, wanted: Try, target: Release, now: float) -> None:
        """Answers once every worker has on trial what the file says, or once it is clear that one will not in time."""
        lagging = [worker for worker in self._workers if worker.serving != target or worker.tried != wanted]
        if not lagging and self._workers.complete:
            self._reply(call, {**self.described(), "seconds": round(now - call.began, 3),
                               "comparison": call.comparison or None})
        elif now > call.due:
            names = ", ".join(str(worker.process_id) for worker in lagging) or "one that is being replaced"
            self._reply(call, Refusal(
                ErrorType.LOAD_INCOMPLETE, f"after {now - call.began:.1f} s these workers do not have on trial what "
                f"the file says: {names}", f"{_LOOK}; they keep trying"))

    def _reply(self, call: _Call, outcome: dict[str, Any] | Refusal) -> None:
        self._call = None
        call.caller.send(Reply(call.number, outcome))
