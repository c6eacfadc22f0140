"""Holds the bundle that one worker serves: opens it, warms it up, and says whether it may answer yet."""

from __future__ import annotations

from pathlib import Path

from index_store.store import Bundle
from service import metrics
from service.admission import Admission
from service.errors import ErrorType, ServiceError
from service.golden import warm_up
from service.redis_level import RedisLevel
from service.request_log import log
from service.retriever import Retriever
from service.settings import Settings
from service.user_cache import UserCache


class BundleHost:
    """Opens a bundle, whose files the supervisor has verified.

    Must be made in the event loop that will serve.

    Raises:
        BundleError: the bundle is broken.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        opened = Bundle.open(folder, verify=False)
        self.manifest = opened.manifest
        self.spec = opened.content.encoder.spec
        self.user_fields = frozenset(field.name for field in self.spec.user_fields)
        self._cache = _cache(opened, settings) if settings.user_cache else None
        self._retriever = Retriever(opened, cache=self._cache, search_threads=settings.search_threads,
                                    onnx_threads=settings.onnx_threads,
                                    targeting_cache_entries=settings.targeting_cache_entries)
        self.admission = Admission(settings.search_threads, settings.max_queue)
        self._why_not_ready = "the golden requests are still being replayed"
        self._help = "try again in a moment"

    @property
    def retriever(self) -> Retriever:
        """Raises ServiceError `not_ready` before `warm` has finished, and for good if the bundle answers wrongly."""
        if self._why_not_ready:
            raise ServiceError(ErrorType.NOT_READY, f"bundle {self.manifest.bundle_id} does not serve: "
                                                    f"{self._why_not_ready}", self._help)
        return self._retriever

    async def warm(self) -> None:
        """Warms up on the golden requests; afterwards the bundle serves, unless a score was wrong."""
        if self._cache is not None:
            await self._cache.connect()
        try:
            wrong = [done async for done in warm_up(self._retriever) if done.problem]
            problem = f"golden request {wrong[0].number} {wrong[0].problem}" if wrong else ""
        except Exception as error:  # a bundle that cannot answer its own requests must not serve, whatever the reason
            problem = f"a golden request fails: {type(error).__name__}: {error}"
        self._why_not_ready = problem
        if problem:
            self._help = "run `python -m service BUNDLE --check` on this machine and export the bundle again"
            log("bundle_refused", bundle_id=self.manifest.bundle_id, reason=problem)
        else:
            metrics.BUNDLE_ACTIVE.labels(self.manifest.bundle_id).set(1)
            log("bundle_ready", bundle_id=self.manifest.bundle_id)

    async def close(self) -> None:
        """Lets running searches finish and writes what the cache has not written yet."""
        self._retriever.close()
        if self._cache is not None:
            await self._cache.close()


def _cache(opened: Bundle, settings: Settings) -> UserCache:
    redis = None
    if settings.redis_url is not None:
        redis = RedisLevel(settings.redis_url.get_secret_value(), settings, opened.user_tower_version,
                           opened.manifest.dims["user_embedding"])
    return UserCache(settings.user_cache_entries, redis)
