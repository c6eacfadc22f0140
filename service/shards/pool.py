"""The connections of one bundle to one of its shards, which threads keep open, so that no search opens one."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from service.shards.address_book import Address, AddressBookError
from service.shards.connection import ShardConnection, ShardGoneError
from service.telemetry import metrics
from service.telemetry.request_log import log

_LOOK_SECONDS = 0.1
"""Between two looks at the connections, and at the address book."""

_RETRY_SECONDS = 0.5
"""From a failed try to connect to an address to the next one."""

_OWED_LOOK_SECONDS = 0.001
"""Between two looks for an answer that came late, where a search waits for its connection."""

_CLOSE_SECONDS = 1.0

_READ_SECONDS = 0.05
"""For the rest of such an answer, once it has begun to come."""


class ShardPool:
    """Connections that are lent to one search at a time each.

    A connection on which an answer was late is lent again once that answer has come. If it does not come, the
    connection is closed, and opened anew only once the shard answers again: a shard that hangs keeps searches waiting
    for a moment only.

    Args:
        number: of the shard.
        addresses: where it is now.
        connect: opens a connection to one of the addresses.
        each: connections to each address.
        patience: seconds in which a late answer has to come.
    """

    def __init__(self, number: int, addresses: Callable[[], list[Address]],
                 connect: Callable[[Address], ShardConnection], each: int, patience: float) -> None:
        self.number, self._addresses, self._connect, self._each = number, addresses, connect, each
        self._patience = patience
        self._idle: deque[ShardConnection] = deque()
        self._owed: list[tuple[ShardConnection, float]] = []
        self._open: Counter[Address] = Counter()
        self._changed = threading.Condition()
        self._retry_at: dict[Address, float] = {}
        self._connecting: set[Address] = set()
        self._wake, self._closed, self._counted = threading.Event(), False, False
        self.problem = "no address of it is known"
        self._thread = threading.Thread(target=self._keep, name=f"shard-{number}", daemon=True)
        self._thread.start()

    def take(self, until: float) -> ShardConnection | None:
        """A connection, once one is free; None if there is none at all, or none becomes free in time."""
        with self._changed:
            while True:
                self._collect()
                if self._idle:
                    return self._idle.popleft()
                left = until - time.perf_counter()
                if not self._open.total() or left <= 0:
                    return None
                self._changed.wait(min(left, _OWED_LOOK_SECONDS) if self._owed else left)

    def give_back(self, connection: ShardConnection) -> None:
        with self._changed:
            if self._closed:
                connection.close()
                return
            self._idle.append(connection)
            self._changed.notify()

    def give_back_late(self, connection: ShardConnection) -> None:
        """Gives back a connection on which an answer is still to come."""
        with self._changed:
            if self._closed:
                connection.close()
                return
            self._owed.append((connection, time.perf_counter()))
            self._changed.notify_all()  # who waits has to look for the answer from now on

    def drop(self, connection: ShardConnection, problem: str) -> None:
        """Gives up a connection."""
        connection.close()
        with self._changed:
            self._open[connection.address] -= 1
            self._count(problem)
            self._changed.notify_all()
        self._wake.set()

    def wait(self, seconds: float) -> bool:
        """Waits for a connection; returns whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open.total() > 0, seconds)

    def close(self) -> None:
        """Closes the connections that are not lent, and the others as they come back."""
        with self._changed:
            self._closed = True
            for connection in (*self._idle, *(owed for owed, _ in self._owed)):
                connection.close()
            self._idle.clear()
            self._owed.clear()
            self._open.clear()
            if self._counted:
                metrics.SHARDS_MISSING.dec()
                self._counted = False
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)  # where a shard is just opening its part, that one is closed afterwards

    def _keep(self) -> None:
        while not self._closed:
            try:
                wanted = self._addresses()
                self._weed(wanted)
                for address in wanted:
                    self._begin_connecting(address)
            except AddressBookError as error:
                self.problem = str(error)
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _collect(self) -> None:
        """Reads answers that came late, and gives up those that did not."""
        for owed in list(self._owed):
            connection, since = owed
            try:
                if connection.readable:
                    connection.receive(time.perf_counter() + _READ_SECONDS)
                    self._idle.append(connection)
                elif time.perf_counter() < since + self._patience:
                    continue
                else:
                    self.drop(connection, f"it has not answered for {self._patience:g} s")
            except (ShardGoneError, TimeoutError) as error:
                self.drop(connection, str(error))
            self._owed.remove(owed)

    def _weed(self, wanted: list[Address]) -> None:
        """Drops free connections that are broken, or lead to an address that counts no longer."""
        with self._changed:
            self._collect()
            free = list(self._idle)
            useless = [one for one in free if one.address not in wanted or one.broken]
            for one in useless:
                self._idle.remove(one)
        for one in useless:
            self.drop(one, f"the connection to {one.address[0]}:{one.address[1]} has ended")

    def _begin_connecting(self, address: Address) -> None:
        """Connects to an address, where that is due, in a thread: one that opens nothing keeps no other waiting."""
        if (address not in self._connecting and self._open[address] < self._each
                and time.perf_counter() >= self._retry_at.get(address, 0.0)):
            self._connecting.add(address)
            threading.Thread(target=self._connect_to, args=(address,), name=f"shard-{self.number}", daemon=True).start()

    def _connect_to(self, address: Address) -> None:
        try:
            self._connect_all(address)
        finally:
            self._connecting.discard(address)

    def _connect_all(self, address: Address) -> None:
        while not self._closed and self._open[address] < self._each:
            try:
                connection = self._connect(address)
            except ShardGoneError as error:
                self.problem, self._retry_at[address] = str(error), time.perf_counter() + _RETRY_SECONDS
                return
            with self._changed:
                if self._closed:
                    connection.close()
                    return
                self._open[address] += 1
                self._idle.append(connection)
                self._count("")
                self._changed.notify_all()

    def _count(self, problem: str) -> None:
        """Tells when the last connection is lost, and when there is one again."""
        missing = not self._open.total()
        if missing != self._counted and not self._closed:
            self._counted = missing
            metrics.SHARDS_MISSING.inc(1 if missing else -1)
            if missing:
                log("shard_missing", shard=self.number, reason=problem)
            else:
                log("shard_back", shard=self.number)
