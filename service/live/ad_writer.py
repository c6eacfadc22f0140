"""The ad writer: checks what callers ask for against the change log, and appends it, off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from index_store.changes.change_log import (
    NEVER_CHANGED,
    Change,
    ChangeLog,
    KeyReusedError,
    Kind,
    VersionConflictError,
    Write,
)
from index_store.live.ad_changes import STATUS, status_of
from index_store.live.users import FEATURES
from index_store.live.withdrawals import Status
from service.contract.errors import ErrorType, ServiceError, ad_not_found, shown
from service.live.log_writer import LogWriter, RefusedWriteError, key_reused

_TRIES = 8
"""Of an append whose ads others change between the check and the append."""

_NO_VERSION = -1
"""A version that no ad has: lets through only what repeats an earlier write, by its idempotency key."""


class AdWriter:
    """Reads and appends states of ads. All methods raise ServiceError as LogWriter.in_thread.

    Args:
        log: to read and append to.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    async def append(self, writes: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        """Writes all or none; returns once they are durable.

        Args:
            writes: each sets a status, features or targeting; one with features may add an ad.
            knows: whether the bundle has an ad.

        Raises:
            RefusedWriteError: the first write that cannot be made.
        """
        return await self._log.in_thread(lambda: self._append(writes, knows))

    async def state(self, ad_id: str) -> Change | None:
        """The last change of an ad; None if it was never changed."""
        def read() -> Change | None:
            log = self._log.existing()
            return None if log is None else log.state(Kind.AD, ad_id)

        return await self._log.in_thread(read)

    def _append(self, writes: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        for _ in range(_TRIES):
            checked = self._checked(self._log.existing(), writes, knows)
            try:
                return self._log.group().append(checked)
            except KeyReusedError as error:
                raise RefusedWriteError(error.index, key_reused(error)) from error
            except VersionConflictError as error:
                if error.expected == _NO_VERSION:
                    raise RefusedWriteError(error.index, _deleted(error.id, error.found)) from error
                if writes[error.index].if_version is not None:
                    raise RefusedWriteError(error.index, ServiceError(
                        ErrorType.VERSION_CONFLICT, f"ad {shown(error.id)} has version {error.found}, if_version is "
                        f"{error.expected}", "look at the ad, and write again with its version if that is still right")
                    ) from error
                # Someone else has changed the ad since the check, which therefore counts for nothing.
        raise ServiceError(ErrorType.OVERLOADED, f"others change the same ads: {_TRIES} tries to write were overtaken",
                           "try again after the Retry-After header's time", retry_after=1)

    def _checked(self, log: ChangeLog | None, writes: Sequence[Write],
                 knows: Callable[[str], bool]) -> list[Write]:
        """The writes, each bound to the version of its ad that was checked: another one would have to be checked anew.

        Raises:
            RefusedWriteError: an ad is unknown, or deleted.
        """
        states = {} if log is None else log.states(Kind.AD, {write.id for write in writes})
        status: dict[str, Status] = {}
        checked = []
        for index, write in enumerate(writes):
            ad_id, expected, version = write.id, write.if_version, None
            if ad_id not in status:
                state = states.get(ad_id)
                if state is None and FEATURES not in write.fields and not knows(ad_id):
                    raise RefusedWriteError(index, ad_not_found(ad_id))
                status[ad_id] = status_of(state)
                version = NEVER_CHANGED if state is None else state.sequence
                expected = version if expected is None else expected
            to = Status(write.fields.get(STATUS, status[ad_id]))
            if status[ad_id] is not Status.DELETED:
                status[ad_id] = to
            elif to is not Status.DELETED:
                if write.key is None:
                    raise RefusedWriteError(index, _deleted(ad_id, version))
                expected = _NO_VERSION
            checked.append(replace(write, if_version=expected))
        return checked


def _deleted(ad_id: str, version: int | None) -> ServiceError:
    since = "by the same batch" if version is None else f"since version {version}"
    return ServiceError(ErrorType.AD_DELETED, f"ad {shown(ad_id)} is deleted, {since}",
                        "a deleted ad stays deleted; pause an ad that is to come back")
