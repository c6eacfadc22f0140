"""Which change each worker of this replica has applied, by the metrics in the memory that they share.

A worker publishes it where it counts everything else, so whoever asks needs neither the supervisor nor an answer from a
worker that may hang; and the supervisor's rule for gauges takes a dead worker out.
"""

from __future__ import annotations

import asyncio
import time

from service.telemetry import metrics
from service.telemetry.shared_values import AcrossProcesses, process_number

_APPLIED, _ACTIVE = AcrossProcesses(metrics.CHANGES_APPLIED), AcrossProcesses(metrics.BUNDLE_ACTIVE)
_LOOK_SECONDS = 0.005


def publish(as_of: int) -> None:
    """Says that every snapshot of this worker includes the changes up to this one."""
    metrics.CHANGES_APPLIED.labels(str(process_number())).set(as_of)


def applied_by_workers() -> dict[int, int]:
    """Number of each worker that serves -> the last change that it has applied."""
    return {number: int(max(applied, default=0))
            for number, (applied, active) in enumerate(zip(_APPLIED.values(), _ACTIVE.values(), strict=True))
            if any(active)}


def applied_by_others() -> int:
    """The last change that any other worker that serves has applied; 0 if there is none."""
    return max((as_of for number, as_of in applied_by_workers().items() if number != process_number()), default=0)


async def wait_until_applied(sequence: int, seconds: float) -> dict[int, int]:
    """Waits until every worker that serves has applied a change, or for this time.

    Returns:
        The workers that have not, with the last change that they have.
    """
    until = time.monotonic() + seconds
    while True:
        behind = {number: as_of for number, as_of in applied_by_workers().items() if as_of < sequence}
        if not behind or time.monotonic() > until:
            return behind
        await asyncio.sleep(_LOOK_SECONDS)
