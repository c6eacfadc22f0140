"""The shards of an open root in other processes: whom a search asks, how long it waits, and what it does without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.search.scoring import UserQuery
from index_store.search.sharded_scorer import Logits, ShardItems
from service.shards.address_book import AddressBook
from service.shards.connection import ShardConnection, ShardGoneError
from service.shards.frames import Frame, Kind
from service.shards.pool import ShardPool
from service.shards.scoring_frames import query_arrays, scoring_frame
from service.shards.shard_access import ShardAccess, checked
from service.telemetry import metrics

_READ_SECONDS = 0.01
"""For an answer that has begun to come."""


class RemoteShards:
    """Implements `index_store.search.sharded_scorer.Shards` over connections. Threads may share it.

    Args:
        root: id of the root.
        count: number of its shards.
        tasks: number of tasks, which each answer has to have.
        access: how they are reached.
    """

    def __init__(self, root: str, count: int, tasks: int, access: ShardAccess) -> None:
        self._root, self._tasks, self._timeout = root, tasks, access.timeout
        book = AddressBook(access.book)
        self._pools = [self._pool(book, number, count, access) for number in range(count)]

    def _pool(self, book: AddressBook, number: int, count: int, access: ShardAccess) -> ShardPool:
        return ShardPool(number, lambda: book.addresses(number),
                         lambda address: ShardConnection(address, self._root, number, count, access.opening),
                         access.connections, access.timeout)

    def missing(self, seconds: float) -> str | None:
        """Waits until all shards are connected; returns what is wrong with the first that is not in time."""
        until = time.perf_counter() + seconds
        for pool in self._pools:
            if not pool.wait(max(0.0, until - time.perf_counter())):
                return f"shard {pool.number} of {len(self._pools)} is not there: {pool.problem}"
        return None

    def ask(self, query: UserQuery, wanted: Sequence[ShardItems]) -> Callable[[], Sequence[Logits | None]]:
        """See Shards.ask."""
        until = time.perf_counter() + self._timeout
        if query.search_by is not None:
            until = min(until, query.search_by)
        arrays = query_arrays(query)
        calls = [_Call(self._pools[one.shard], self._root, one.positions, arrays, until, self._tasks)
                 for one in wanted]
        for call in calls:
            call.begin()

        def collect() -> list[Logits | None]:
            answers = [call.answer() for call in calls]
            query.kernel_seconds += max((call.kernel_seconds for call in calls), default=0.0)
            return answers

        return collect

    def close(self) -> None:
        for pool in self._pools:
            pool.close()


class _Call:
    """A question to one shard. Where a connection breaks, the next one is tried: another replica may answer.

    Nobody waits for a connection before all shards are asked that can be: one that hangs costs the others no time.
    """

    def __init__(self, pool: ShardPool, root: str, positions: NDArray[np.int64],
                 arrays: Sequence[NDArray[np.generic]], until: float, tasks: int) -> None:
        self._pool, self._root, self._positions, self._arrays = pool, root, positions, arrays
        self._until, self._expected = until, (len(positions), tasks)
        self._connection: ShardConnection | None = None
        self.kernel_seconds = 0.0
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Sends it if a connection is free."""
        self._send(0.0)

    def _send(self, take_by: float) -> None:
        """Sends it, over one connection after the other until one takes it."""
        while (connection := self._pool.take(take_by)) is not None:
            left = self._until - time.perf_counter()
            if left <= 0:
                self._pool.give_back(connection)
                return
            try:
                connection.send(scoring_frame(self._root, left, self._positions, self._arrays), self._until)
            except (ShardGoneError, TimeoutError) as error:
                self._pool.drop(connection, str(error))
                continue
            self._connection = connection
            return

    def answer(self) -> Logits | None:
        """Waits for the answer; None if there is none."""
        if self._connection is None:
            self._send(self._until)
        while (connection := self._connection) is not None:
            self._connection = None
            until = self._until
            if connection.readable:  # it came in time, while another shard was waited for
                until = max(until, time.perf_counter() + _READ_SECONDS)
            try:
                frame = connection.receive(until)
            except TimeoutError:
                if connection.midway:
                    self._pool.drop(connection, "an answer was late")
                else:
                    self._pool.give_back_late(connection)
                self._count("late")
                return None
            except ShardGoneError as error:
                self._pool.drop(connection, str(error))
                self._send(self._until)
                continue
            return self._read(connection, frame)
        self._count("gone" if time.perf_counter() < self._until else "late")
        return None

    def _read(self, connection: ShardConnection, frame: Frame) -> Logits | None:
        if frame.kind is Kind.LATE:
            self._pool.give_back(connection)
            self._count("late")
            return None
        if frame.kind is not Kind.LOGITS or [array.shape for array in frame.arrays] != [self._expected, (1,)]:
            said = frame.text if frame.kind is Kind.REFUSED else f"{frame.kind.name} of other shapes"
            self._pool.drop(connection, f"it does not score: {said}")
            self._count("gone")
            return None
        self._pool.give_back(connection)
        self.kernel_seconds = float(frame.arrays[1][0])
        self._count("scored")
        metrics.SHARD_SECONDS.labels(str(self._pool.number)).observe(time.perf_counter() - self._began)
        return frame.arrays[0]

    def _count(self, outcome: str) -> None:
        metrics.SHARD_ANSWERS.labels(str(self._pool.number), outcome).inc()


def reached_shards(opened: Bundle, access: ShardAccess | None) -> RemoteShards | None:
    """The shards of a bundle, all of which are there; None for one that is not sharded.

    Raises:
        BundleError: one is missing, or nothing says where they are.
    """
    shards = opened.content.shards
    if shards is None:
        return None
    access = checked(opened, access)
    reached = RemoteShards(opened.bundle_id, len(shards), len(opened.content.encoder.spec.tasks), access)
    problem = reached.missing(access.opening)
    if problem is not None:
        reached.close()
        raise BundleError(opened.files.folder, layout.SHARDS, problem,
                          f"start it, or correct its address in {access.book}")
    return reached
