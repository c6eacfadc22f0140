"""A candidate bundle and its check, which runs in a separate low-priority process while another bundle serves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from service.bundles.control_channel import Release
from service.live.log_place import LogPlace
from service.settings import Settings
from service.shards.shard_access import ShardAccess
from service.supervisor.processes import Processes
from service.supervisor.shadow_evidence import ShadowEvidence, shadow_evidence

# A tenth of what a worker gets where they compete; at the lowest priority a check would not end on a busy machine.
_NICENESS = 10

Fault = Literal["broken", "golden", "changes", "fields", "worse", "check", "pointer"]
"""Why a bundle is not served; values of the label `reason` of `retrieval_bundle_refused_total`."""


@dataclass(frozen=True)
class Incumbent:
    """The bundle that serves, with which the candidate is compared.

    Attributes:
        folder: of the bundle.
        requests: recent request bodies, which both bundles answer.
        settings: of the service, for the limits of the gate.
        evidence: of the candidate in the shadow of this bundle; None if there is too little.
    """

    folder: Path
    requests: Sequence[bytes]
    settings: Settings
    evidence: ShadowEvidence | None = None

    @classmethod
    def of(cls, serves: Release, candidate: Release, requests: Sequence[bytes], settings: Settings) -> Incumbent:
        """The bundle that serves, with what was seen of the candidate in its shadow if that is enough."""
        least = settings.gate_shadow_comparisons
        evidence = shadow_evidence(candidate.bundle_id, serves.bundle_id) if least else None
        enough = evidence is not None and evidence.compared >= least
        return cls(serves.folder, requests, settings, evidence if enough else None)


@dataclass(frozen=True)
class Accepted:
    """The candidate may serve; `comparison` is the table of both bundles, empty without an incumbent."""

    comparison: str = ""


@dataclass(frozen=True)
class Rejected:
    """The candidate must not serve.

    Attributes:
        fault: kind of the fault.
        fact: what is wrong with it.
        remedy: what to do.
        details: more to read, of several lines.
    """

    fault: Fault
    fact: str
    remedy: str
    details: str = ""

    @property
    def reason(self) -> str:
        return f"{self.fact}; {self.remedy}"


Verdict = Accepted | Rejected

_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Rejected | Accepted)


class Candidate:
    """The supervisor's end of a running check.

    Args:
        processes: starts the process.
        folder: the bundle to check.
        place: of the change log, which it has to fit to; None without one.
        incumbent: the bundle that it is compared to; None skips the comparison.
        understands: a bundle all of whose requests it has to understand; None asks nothing of the kind.
        shards: how those of a sharded bundle are reached.

    Attributes:
        verdict: readable once the check has ended.
    """

    def __init__(self, processes: Processes, folder: Path, place: LogPlace | None,
                 incumbent: Incumbent | None, understands: Path | None = None,
                 shards: ShardAccess | None = None) -> None:
        self.verdict, sender = Pipe(duplex=False)
        self._process = processes.start(_check, folder, place, incumbent, understands, shards, sender,
                                        daemon=True)
        sender.close()

    def result(self) -> Verdict:
        """The verdict; call this once `verdict` is readable."""
        try:
            result = _VERDICT.validate_json(self.verdict.recv_bytes())
        except EOFError:  # it was killed, perhaps because memory ran short
            self._process.join()
            result = Rejected("check", f"the check ended with exit status {self._process.exitcode}",
                              "look for the reason in the log, then load the bundle again")
        self.end()
        return result

    def end(self) -> None:
        """Ends the check if it is still running."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.verdict.close()


def _check(folder: Path, place: LogPlace | None, incumbent: Incumbent | None, understands: Path | None,
           shards: ShardAccess | None, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the supervisor too, which decides
    os.nice(_NICENESS)
    from service.telemetry.request_log import flush, log_libraries
    from service.telemetry.shared_values import SharedMemory, attach

    log_libraries()
    attach(SharedMemory.create(1), 0)  # what it counts is no metric of the service
    verdict = (asyncio.run(fault_of(folder, shards)) or misfit_of(folder, place) or foreign_to(folder, understands)
               or compared(folder, incumbent, shards))
    flush()  # the supervisor ends this process as soon as it has the verdict
    sender.send_bytes(_VERDICT.dump_json(verdict))


async def fault_of(folder: Path, shards: ShardAccess | None = None) -> Rejected | None:
    """Why a bundle cannot serve at all: it does not open, lacks a shard, or answers its golden requests wrongly.

    Args:
        folder: the bundle.
        shards: how those of a sharded one are reached.
    """
    from index_store.bundle.bundle import Bundle
    from index_store.bundle.manifest import BundleError
    from service.bundles.bundle_host import warming_problem
    from service.retrieval.retriever import Retriever

    try:
        retriever = Retriever(Bundle.open(folder), shards=shards)
        problem = await warming_problem(retriever)
        retriever.close()
    except BundleError as error:
        return Rejected("broken", error.fact, error.remedy)
    except Exception as error:  # whatever is in those files, the bundle cannot serve
        return Rejected("broken", f"bundle {folder} cannot be opened: {type(error).__name__}: {error}",
                        "export it again")
    if problem is None:
        return None
    return Rejected("golden", f"bundle {folder}: {problem}",
                    "export it again, with the versions that are installed here")


def misfit_of(folder: Path, place: LogPlace | None) -> Rejected | None:
    """Why a bundle that is sound must not serve with this change log; None too if the log cannot be read now."""
    from index_store.bundle.files import BundleFiles
    from index_store.changes.change_log import ChangeLogError
    from service.live.included import DoesNotFitError, check_includes

    if place is None:
        return None
    manifest = BundleFiles(folder, verify=False).manifest
    try:
        with closing(place.open()) if place.exists() else nullcontext() as log:
            check_includes(log, manifest.changes_included, manifest.change_log_id)
    except DoesNotFitError as error:
        return Rejected("changes", f"bundle {folder}: {error.fact}", error.remedy)
    except ChangeLogError:
        return None  # no fault of the bundle: the workers say so, and try again
    return None


def foreign_to(folder: Path, understands: Path | None) -> Rejected | None:
    """Why a bundle that is sound cannot stand beside another one: requests bring what it does not know."""
    if understands is None:
        return None
    from index_store.bundle.declaration import lacking

    lacks = lacking(folder, understands)
    if not lacks:
        return None
    return Rejected("fields", f"bundle {folder} does not declare what requests of {understands.name} bring: "
                    f"{', '.join(lacks)}", "train it with the declaration that callers send")


def compared(folder: Path, incumbent: Incumbent | None, shards: ShardAccess | None = None) -> Verdict:
    """The gate's verdict on a bundle that is sound."""
    if incumbent is None:
        return Accepted()
    from service.supervisor.promotion_gate import GateLimits, compare

    comparison = compare(folder, incumbent.folder, incumbent.requests, GateLimits.of(incumbent.settings),
                         incumbent.evidence, shards)
    if comparison.passed:
        return Accepted(comparison.text())
    worse = ", ".join(measure.name for measure in comparison.measures if not measure.passed)
    return Rejected("worse", f"bundle {folder} is worse than {incumbent.folder.name}, which serves now, in: {worse}",
                    "compare the values in details, or load it with force: true", comparison.text())
