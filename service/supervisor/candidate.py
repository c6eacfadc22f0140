"""A bundle on trial: checked in a process of its own, at a low priority, while another one serves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from service.settings import Settings

# A tenth of what a worker gets where they compete; at the lowest priority a check would not end on a busy machine.
_NICENESS = 10

Fault = Literal["broken", "golden", "worse", "check"]


@dataclass(frozen=True)
class Rival:
    """What a bundle must be as good as: the folder of the one that serves, requests for both, and the gate's limits."""

    folder: Path
    requests: Sequence[bytes]
    settings: Settings


@dataclass(frozen=True)
class Fit:
    """A bundle may serve; `comparison` is the table of both, empty where there was no rival."""

    comparison: str = ""


@dataclass(frozen=True)
class Unfit:
    """Why a bundle must not serve: the kind of fault, the fact with what to do, and more to read."""

    fault: Fault
    reason: str
    details: str = ""


_VERDICT: TypeAdapter[Fit | Unfit] = TypeAdapter(Unfit | Fit)


class Candidate:
    """The supervisor's view of a check that runs.

    Args:
        spawn: makes the process.
        folder: the bundle.
        rival: the bundle that it shall replace; None where it need not be as good.
    """

    def __init__(self, spawn: SpawnContext, folder: Path, rival: Rival | None) -> None:
        self.verdict, theirs = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_check, args=(folder, rival, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def result(self) -> Fit | Unfit:
        """What came of it; for when `verdict` is readable."""
        try:
            result = _VERDICT.validate_json(self.verdict.recv_bytes())
        except EOFError:  # it was killed, perhaps because memory ran short
            self._process.join()
            result = Unfit("check", f"the check ended with exit status {self._process.exitcode}; look for the reason "
                                    "in the log, and load the bundle again")
        self.end()
        return result

    def end(self) -> None:
        """Ends the check, if it still runs."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.verdict.close()


def _check(folder: Path, rival: Rival | None, verdict: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the supervisor gets it too, and decides
    os.nice(_NICENESS)
    from service.telemetry.request_log import flush, log_libraries

    log_libraries()
    found = asyncio.run(_fault(folder)) or _compared(folder, rival)
    flush()  # the supervisor ends this process as soon as it has the verdict
    verdict.send_bytes(_VERDICT.dump_json(found))


async def _fault(folder: Path) -> Unfit | None:
    from index_store.bundle.bundle import Bundle
    from index_store.bundle.manifest import BundleError
    from service.bundles.bundle_host import warming_problem
    from service.retrieval.retriever import Retriever

    try:
        retriever = Retriever(Bundle.open(folder))
        problem = await warming_problem(retriever)
    except BundleError as error:
        return Unfit("broken", str(error))
    except Exception as error:  # whatever is in those files, it is no bundle that could serve
        return Unfit("broken", f"bundle {folder} cannot be opened: {type(error).__name__}: {error}; export it again")
    return None if problem is None else Unfit("golden", f"bundle {folder}: {problem}; export it again, with the "
                                                        "versions that are installed here")


def _compared(folder: Path, rival: Rival | None) -> Fit | Unfit:
    if rival is None:
        return Fit()
    from service.supervisor.promotion_gate import GateLimits, judge

    verdict = judge(folder, rival.folder, rival.requests, GateLimits.of(rival.settings))
    if verdict.passed:
        return Fit(verdict.text())
    worse = "; ".join(row.measure for row in verdict.rows if not row.passed)
    return Unfit("worse", f"bundle {folder} is worse than {rival.folder.name}, which serves, in: {worse}; the details "
                          "have both values", verdict.text())
