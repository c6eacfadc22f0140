"""The bundles of one worker: the current one, and the previous one, which stays open for a rollback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.trials import ROLES, Role
from index_store.changes.change_log import ChangeLogError
from service.bundles.bundle_host import BundleHost
from service.bundles.control_channel import Failed, Message, Release, Serving, TrialFailed, Try, Trying
from service.bundles.sides import Canary, Sides
from service.cache.user_cache import UserCache
from service.live.follower import Follower
from service.sampling.recent_requests import RecentRequests
from service.settings import Settings
from service.telemetry import metrics
from service.telemetry.request_log import log

_RETRY_SECONDS = 0.5
"""Between two tries to replay a change log that cannot be read."""

_BESIDE_SECONDS = 120.0
"""How long a bundle stays open beside the ones that serve, for questions about what it would answer."""


class HostedBundles:
    """Opens the bundle that the supervisor names while the current one serves, and swaps once it is warm.

    A request reads `current` once and keeps what it has read, so no reply mixes two bundles. For one event loop.

    Args:
        settings: of the worker.
        recent: requests to warm up on.
        report: sends the outcome to the supervisor.
        follower: applies changes of ads to every bundle that is open; None without a change log.

    Attributes:
        current: the bundle that answers; there once `open` has returned.
        shadow: the one that answers nobody and is compared with it; None if there is none.
        started: whether one has ever been ready.
    """

    current: BundleHost

    def __init__(self, settings: Settings, recent: RecentRequests, report: Callable[[Message], None],
                 follower: Follower | None = None) -> None:
        self._settings, self._recent, self._report, self._follower = settings, recent, report, follower
        self._previous: BundleHost | None = None
        self._canary: Canary | None = None
        self.shadow: BundleHost | None = None
        self._beside: BundleHost | None = None
        self._unused: asyncio.TimerHandle | None = None
        self._caches: dict[str, UserCache] = {}
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = False

    async def open(self, release: Release) -> None:
        """Opens the first bundle; it warms up in the background while /livez already answers.

        Raises:
            BundleError: the bundle is broken.
        """
        try:
            self.current = await BundleHost.open(release, self._settings, self._cache_of)
        except BundleError as error:  # such as a shard that is not there; the worker cannot start
            log("bundle_refused", bundle=release.name, bundle_id=release.bundle_id, reason=str(error))
            raise
        self._in_background(self._warm_first())

    def follow(self, release: Release) -> None:
        """Switches to another bundle as soon as it is warm."""
        self._in_background(self._swap(release))

    @property
    def sides(self) -> Sides:
        """The bundles that answer now."""
        return Sides(self.current, self._canary)

    def try_out(self, wanted: Try) -> None:
        """Has these bundles on trial, and no others, as soon as they are warm."""
        self._in_background(self._try_out(wanted))

    def drop_canary(self, host: BundleHost, reason: str) -> None:
        """Ends the trial of a bundle that has failed; the current one answers its users from now on."""
        if self._canary is not None and self._canary.host is host:
            self._canary = None
            metrics.CANARY_SHARE.set(0)
            self._trial_failed("canary", host.release, reason)
            self._in_background(self._close_unheld(host))

    async def beside(self, release: Release) -> BundleHost:
        """A warm bundle that does not serve, to ask what it would answer, without a user cache.

        One more than those that serve is open at a time; it is closed after a while, or for another one.

        Raises:
            BundleError, RuntimeError: it is broken, or does not fit the live ads.
        """
        async with self._one_at_a_time:
            if (host := self._warm_host(release, self._beside)) is not None:
                return host
            self._close_beside()
            self._beside = host = await self._open_beside(release, lambda _: None)
            self._unused = asyncio.get_running_loop().call_later(_BESIDE_SECONDS, self._close_beside)
            return host

    async def close(self) -> None:
        """Waits for running requests and flushes the caches."""
        for task in self._tasks:
            task.cancel()
        if self._unused is not None:
            self._unused.cancel()
        for host in self._held():
            await host.close()
        for cache in self._caches.values():
            await cache.close()

    async def _warm_first(self) -> None:
        async with self._one_at_a_time:
            host = self.current
            await self._replay_first(host)
            await host.warm()
            if host.problem is None:
                self._now_serving(host)
                log("bundle_ready", bundle_id=host.release.bundle_id, scorer=host.retriever.runs)
            else:
                self._refused(host.release, host.problem)

    async def _swap(self, release: Release) -> None:
        async with self._one_at_a_time:
            began = time.perf_counter()
            try:
                host = await self._open_beside(release, self._cache_of)
            except Exception as error:  # whatever it is, the current bundle keeps serving
                self._refused(release, _said(error))
                return
            if host is not self.current:
                # From here to the end of the swap nothing is awaited.
                tried = [] if self._canary is None else [self._canary.host]
                unused = [self.current, self._previous, self.shadow, *tried]
                former = self.current
                self.current, self._previous = host, former if former.problem is None else None
                self._canary = self.shadow = None  # a trial is one beside the former bundle
                metrics.CANARY_SHARE.set(0)
                metrics.BUNDLE_ACTIVE.labels(former.release.bundle_id).set(0)
                metrics.BUNDLE_SWAPS.inc()
                log("bundle_swapped", bundle_id=release.bundle_id, former=former.release.bundle_id,
                    seconds=round(time.perf_counter() - began, 3))
                for one in dict.fromkeys(unused):
                    if one is not None:
                        self._in_background(self._close_unheld(one))
            self._now_serving(host)

    async def _try_out(self, wanted: Try) -> None:
        """Opens what is to be on trial, then puts it there, and closes what no longer is."""
        async with self._one_at_a_time:
            opened: dict[Role, BundleHost | None] = {}
            for role in ROLES:
                opened[role], release = None, wanted.of(role)
                if release is None:
                    continue
                try:
                    opened[role] = await self._open_beside(release, self._cache_of)
                except Exception as error:  # whatever it is, the current bundle keeps serving
                    self._trial_failed(role, release, _said(error))
            # From here to the end nothing is awaited.
            former = [self.shadow, None if self._canary is None else self._canary.host]
            canary, self.shadow = opened["canary"], opened["shadow"]
            self._canary = None if canary is None or canary is self.current else Canary(canary, wanted.share)
            metrics.CANARY_SHARE.set(0 if self._canary is None else wanted.share)
            for host in dict.fromkeys(former):
                if host is not None:
                    self._in_background(self._close_unheld(host))
            self._report(Trying(Try(None if canary is None else canary.release, 0 if canary is None else wanted.share,
                                    None if self.shadow is None else self.shadow.release)))

    async def _open_beside(self, release: Release,
                           cache_of: Callable[[Bundle], UserCache | None]) -> BundleHost:
        """The warm bundle: one that still serves, or a newly opened one."""
        if (known := self._warm_host(release)) is not None:
            return known
        host = await BundleHost.open(release, self._settings, cache_of)
        try:
            await self._replay(host)
            if host.snapshot.unfit:
                ad_id, reason = next(iter(host.snapshot.unfit.items()))
                raise RuntimeError(f"{len(host.snapshot.unfit)} live ads do not fit it, the first one is {ad_id!r}: "
                                   f"{reason}")
            await host.warm(self._recent.bodies())
            if host.problem is not None:
                raise RuntimeError(host.problem)
        except BaseException:
            self._in_background(self._close(host))
            raise
        return host

    def _held(self) -> list[BundleHost]:
        """Every bundle that is open, once."""
        hosts = (self.current, self._previous, self.shadow, None if self._canary is None else self._canary.host,
                 self._beside)
        return list(dict.fromkeys(host for host in hosts if host is not None))

    def _warm_host(self, release: Release, *others: BundleHost | None) -> BundleHost | None:
        """A bundle that is open with its cache, or one of the others, if it may answer."""
        hosts = (*(host for host in self._held() if host is not self._beside), *others)
        return next((host for host in hosts if host is not None and host.release == release
                     and host.problem is None), None)

    async def _replay_first(self, host: BundleHost) -> None:
        """Replays until it succeeds: a worker that does not know which ads are withdrawn must not answer."""
        while True:
            try:
                await self._replay(host)
                break
            except Exception as error:  # whatever it is, it may pass
                problem = str(error) if isinstance(error, ChangeLogError) else f"{type(error).__name__}: {error}"
                if host.problem != problem:
                    log("changes_unreadable", reason=problem)
                host.problem = problem
                await asyncio.sleep(_RETRY_SECONDS)

    async def _replay(self, host: BundleHost) -> None:
        """Brings a bundle that has just been opened up to date, and lets it follow from then on.

        Raises:
            ChangeLogError: the log cannot be read.
        """
        if self._follower is not None:
            await asyncio.to_thread(self._follower.add, host, host.manifest.change_log_id)

    def _now_serving(self, host: BundleHost) -> None:
        self.started = True
        metrics.BUNDLE_ACTIVE.labels(host.release.bundle_id).set(1)
        self._report(Serving(host.release))

    def _trial_failed(self, role: Role, release: Release, reason: str) -> None:
        log("trial_failed", role=role, bundle=release.name, bundle_id=release.bundle_id, reason=reason)
        self._report(TrialFailed(role, release, reason))

    def _refused(self, release: Release, reason: str) -> None:
        metrics.BUNDLE_REFUSED.labels("worker").inc()
        log("bundle_refused", bundle=release.name, bundle_id=release.bundle_id, reason=reason)
        self._report(Failed(release, reason))

    def _close_beside(self) -> None:
        """Closes the bundle beside those that serve, if there is one, once its requests have ended."""
        host, self._beside = self._beside, None
        if self._unused is not None:
            self._unused.cancel()
        if host is not None:
            self._in_background(self._close(host))

    async def _close_unheld(self, host: BundleHost) -> None:
        """Closes a bundle unless it is needed for something else."""
        if host not in self._held():
            await self._close(host)

    async def _close(self, host: BundleHost) -> None:
        if self._follower is not None:
            await asyncio.to_thread(self._follower.remove, host)
        await host.close()
        if host.cache is not None and host.cache not in {held.cache for held in self._held()}:
            self._caches = {version: cache for version, cache in self._caches.items() if cache is not host.cache}
            await host.cache.close()

    def _cache_of(self, opened: Bundle) -> UserCache | None:
        """Bundles with the same user tower share a cache, as they do in Redis: a swap does not empty it."""
        settings, version = self._settings, opened.user_tower_version
        if not settings.user_cache:
            return None
        if version not in self._caches:
            redis = None
            if settings.redis_url is not None:
                from service.cache.redis_level import RedisLevel  # only where it is used: it takes time and memory

                redis = RedisLevel(settings, version, opened.manifest.dims["user_embedding"])
            self._caches[version] = UserCache(settings.user_cache_entries, redis)
        return self._caches[version]

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
