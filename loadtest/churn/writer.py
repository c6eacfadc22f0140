"""The writer: sends changes to one service at a rate, and times when every worker of both has applied them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection

from loadtest.churn.catalogue import Catalogue, Change
from loadtest.processes.replicas import call, connect
from model.progress.bars import Bar

_BATCHES = 20
"""Times a second that it writes."""

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.002


@dataclass
class Written:
    """What one step wrote.

    Attributes:
        changes: number of changes that were acknowledged.
        seconds: that they took.
        acknowledged: seconds of each call.
        lags: seconds from a call until every worker had applied it, of as many as could be watched one after the other.
    """

    changes: int = 0
    seconds: float = 0.0
    acknowledged: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)


class Writer:
    """Writes to the first of two services.

    Args:
        catalogue: draws the changes, and is told which were acknowledged.
        addresses: of both services.
        ad_id: of an ad of the bundle, which is asked for to see what is applied.

    Attributes:
        visible: (time, number) of changes that every worker was seen to have applied by then, ascending.
    """

    def __init__(self, catalogue: Catalogue, addresses: Sequence[tuple[str, int]], ad_id: str) -> None:
        self._catalogue, self._addresses, self._ad_id = catalogue, addresses, ad_id
        self._newest = 0.0, 0
        self.visible: list[tuple[float, int]] = []

    def write(self, kinds: Sequence[str], rate: int, description: str) -> Written:
        """Makes a change of each of some kinds, in equal batches at a rate, and waits until all are applied.

        Raises:
            RuntimeError: one was refused.
            TimeoutError: one was not applied within a minute.
        """
        written, ended, failures = Written(), threading.Event(), list[Exception]()
        watch = threading.Thread(target=self._watch, args=(written, self._newest[1], ended, failures))
        watch.start()
        try:
            with ExitStack() as stack, Bar(total=len(kinds), desc=description, unit="change") as bar:
                connection, start = connect(stack, self._addresses[0]), time.perf_counter()
                size = max(1, rate // _BATCHES)
                for first in range(0, len(kinds), size):
                    time.sleep(max(0.0, start + first / rate - time.perf_counter()))
                    if failures:
                        break
                    changes = [self._catalogue.draw(kind) for kind in kinds[first:first + size]]
                    for path in ("/ads:batch", "/events"):
                        self._send(connection, written, path, [change for change in changes if change.path == path])
                    bar.update(len(changes))
                written.seconds = time.perf_counter() - start
        finally:
            ended.set()
            watch.join()
        if failures:
            raise failures[0]
        return written

    def _send(self, connection: HTTPConnection, written: Written, path: str, changes: Sequence[Change]) -> None:
        if not changes:
            return
        body = "\n".join(json.dumps(change.line) for change in changes)
        start = time.perf_counter()
        reply = call(connection, "POST", path, body, "application/x-ndjson")
        written.acknowledged.append(time.perf_counter() - start)
        sequences = reply["sequences" if path == "/events" else "versions"]
        for change, sequence in zip(changes, sequences, strict=True):
            self._catalogue.acknowledged(change, sequence)
        written.changes += len(changes)
        self._newest = start, sequences[-1]

    def _watch(self, written: Written, seen: int, ended: threading.Event, failures: list[Exception]) -> None:
        """Times how long the newest call takes to be applied, then that of the newest one by then, and so on."""
        try:
            with ExitStack() as stack:
                connections = [connect(stack, address) for address in self._addresses]
                while not ended.is_set() or self._newest[1] > seen:
                    start, newest = self._newest
                    if newest == seen:
                        ended.wait(_LOOK_SECONDS)
                        continue
                    for connection in connections:
                        self._wait(connection, newest, start)
                    seen = newest
                    self.visible.append((time.perf_counter(), seen))
                    written.lags.append(time.perf_counter() - start)
        except Exception as error:
            failures.append(error)

    def _wait(self, connection: HTTPConnection, sequence: int, start: float) -> None:
        """Waits until every worker of a service has applied a change."""
        while not all(worker["as_of"] >= sequence
                      for worker in call(connection, "GET", f"/ads/{self._ad_id}")["workers"]):
            if time.perf_counter() - start > _PATIENCE_SECONDS:
                raise TimeoutError(f"change {sequence} was not applied everywhere within {_PATIENCE_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
