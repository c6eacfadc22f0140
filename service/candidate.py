"""A bundle on trial: checked in a process of its own, at a low priority, while another one serves."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Literal

# A tenth of what a worker gets where they compete; at the lowest priority a check would not end on a busy machine.
_NICENESS = 10

Fault = Literal["broken", "golden", "check"]


@dataclass(frozen=True)
class Unfit:
    """Why a bundle must not serve: the kind of fault, the fact with what to do, and more to read."""

    fault: Fault
    reason: str
    details: str = ""


class Candidate:
    """The supervisor's view of a check that runs.

    Args:
        spawn: makes the process.
        folder: the bundle.
    """

    def __init__(self, spawn: SpawnContext, folder: Path) -> None:
        self.verdict, theirs = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_check, args=(folder, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def result(self) -> Unfit | None:
        """What came of it, None if the bundle is fit; for when `verdict` is readable."""
        try:
            unfit: Unfit | None = self.verdict.recv()
        except EOFError:  # it was killed, perhaps because memory ran short
            self._process.join()
            unfit = Unfit("check", f"the check ended with exit status {self._process.exitcode}; look for the reason in "
                                   "the log, and load the bundle again")
        self.end()
        return unfit

    def end(self) -> None:
        """Ends the check, if it still runs."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.verdict.close()


def _check(folder: Path, verdict: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the supervisor gets it too, and decides
    # Its metrics are nobody's, and every file of them would stay.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    os.nice(_NICENESS)
    from service.request_log import log_libraries

    log_libraries()
    verdict.send(asyncio.run(_fault(folder)))


async def _fault(folder: Path) -> Unfit | None:
    from index_store.bundle import BundleError
    from index_store.store import Bundle
    from service.bundle_host import warming_problem
    from service.retriever import Retriever

    try:
        retriever = Retriever(Bundle.open(folder))
        problem = await warming_problem(retriever)
    except BundleError as error:
        return Unfit("broken", str(error))
    except Exception as error:  # whatever is in those files, it is no bundle that could serve
        return Unfit("broken", f"bundle {folder} cannot be opened: {type(error).__name__}: {error}; export it again")
    return None if problem is None else Unfit("golden", f"bundle {folder}: {problem}; export it again, with the "
                                                        "versions that are installed here")
