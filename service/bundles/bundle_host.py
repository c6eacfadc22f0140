"""Bundle host: opens, warms up and closes a worker's bundle without blocking the event loop that serves another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Self

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import MANIFEST
from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.targeting.predicates import PredicateError
from service.bundles.control_channel import Release
from service.bundles.golden import warm_up
from service.cache.user_cache import UserCache
from service.contract.errors import ErrorType, ServiceError
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.retrieval.onnx_towers import DenseRun
from service.retrieval.retriever import Retriever
from service.settings import Settings
from service.shards.shard_access import ShardAccess


class BundleHost:
    """An opened bundle and the requests that run on it.

    Attributes:
        problem: why it may not answer; None once it has warmed up.
        snapshot: the bundle as of the last change that was applied; the follower replaces it. A request reads it once.
    """

    def __init__(self, release: Release, retriever: Retriever, cache: UserCache | None) -> None:
        self.release, self.cache = release, cache
        self.manifest = retriever.bundle.manifest
        self.spec = retriever.bundle.content.encoder.spec
        self.user_fields = frozenset(field.name for field in self.spec.user_fields)
        self.problem: str | None = "the golden requests are still being replayed"
        self._help = "try again in a moment"
        self._retriever = retriever
        self.snapshot: Snapshot = retriever.sealed
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(cls, release: Release, settings: Settings, cache_of: Callable[[Bundle], UserCache | None]) -> Self:
        """Opens a bundle whose files the supervisor has verified.

        Args:
            release: the bundle.
            settings: of the worker.
            cache_of: the user cache that fits a bundle; called in the event loop.

        Raises:
            BundleError: the bundle is broken.
        """
        opened = await asyncio.to_thread(Bundle.open, release.folder, verify=False)
        if opened.bundle_id != release.bundle_id:
            raise opened.files.error(MANIFEST, f"says bundle {opened.bundle_id}, but {release.bundle_id} was verified")
        cache = cache_of(opened)
        retriever = await asyncio.to_thread(
            Retriever, opened, cache=cache, search_threads=settings.search_threads,
            dense=DenseRun(settings.kernel, settings.onnx_threads),
            targeting_cache_entries=settings.targeting_cache_entries, shards=ShardAccess.of(settings))
        return cls(release, retriever, cache)

    @property
    def retriever(self) -> Retriever:
        """Raises ServiceError `not_ready` until `warm` has finished, and from then on if a golden answer was wrong."""
        if self.problem is not None:
            raise self.not_ready()
        return self._retriever

    @property
    def current(self) -> Snapshot:
        """The newest snapshot; raises as `retriever` does."""
        if self.problem is not None:
            raise self.not_ready()
        return self.snapshot

    def not_ready(self) -> ServiceError:
        """The error to raise while the bundle has a `problem`."""
        return ServiceError(ErrorType.NOT_READY, f"bundle {self.manifest.bundle_id} does not serve: {self.problem}",
                            self._help)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keeps the bundle open while a request runs on it; called in the event loop."""
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def warm(self, requests: Sequence[bytes] = ()) -> None:
        """Warms up on the golden requests and on `requests`; then the bundle serves unless a score was wrong."""
        if self.cache is not None:
            await self.cache.connect()
        # In an event loop and thread of its own, so that encoding and comparing are kept out of the serving loop too.
        self.problem = await asyncio.to_thread(lambda: asyncio.run(warming_problem(self._retriever, requests)))
        if self.problem is not None:
            self._help = "run `python -m service BUNDLE --check` on this machine and export the bundle again"

    async def close(self) -> None:
        """Waits for running requests and ends the search threads."""
        await self._idle.wait()
        await asyncio.to_thread(self._retriever.close)


async def warming_problem(retriever: Retriever, requests: Sequence[bytes] = ()) -> str | None:
    """Answers the golden requests, then `requests`, through the beam and without the cache.

    Returns:
        What is wrong with the golden answers, None if they are right. Answers to `requests` are not looked at: a bundle
        may refuse what another has answered.
    """
    try:
        wrong = [done async for done in warm_up(retriever) if done.problem]
    except Exception as error:  # whatever the reason, a bundle that fails its own requests must not serve
        return f"a golden request fails: {type(error).__name__}: {error}"
    for body in requests:
        with suppress(ServiceError, FeatureError, PredicateError):
            query = to_query(parse_body(body), retriever.bundle.manifest, UNLIMITED)
            await retriever.retrieve(replace(query, exact=False), use_cache=False)
    return f"golden request {wrong[0].number} {wrong[0].problem}" if wrong else None
