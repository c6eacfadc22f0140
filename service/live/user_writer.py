"""The user writer: appends states of users, and forgets users, off the event loop."""

from __future__ import annotations

from index_store.changes.change_log import Change, KeyReusedError, VersionConflictError, Write
from service.contract.errors import ErrorType, ServiceError, shown
from service.live.log_writer import LogWriter, RefusedWriteError, key_reused


class UserWriter:
    """Appends what is said about users. All methods raise RefusedWriteError, and ServiceError as LogWriter.in_thread.

    Args:
        log: to append to.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    async def put(self, write: Write) -> list[Change]:
        """Writes the state of a user; returns once it is durable."""
        return await self._log.in_thread(lambda: self._put(write))

    async def forget(self, user_id: str, key: str | None) -> list[Change]:
        """Erases what the log says about a user; returns once it is durable.

        Args:
            user_id: of the user.
            key: idempotency key; None for none.
        """
        return await self._log.in_thread(lambda: self._forget(user_id, key))

    def _put(self, write: Write) -> list[Change]:
        try:
            return self._log.group().append([write])
        except KeyReusedError as error:
            raise RefusedWriteError(0, key_reused(error)) from error
        except VersionConflictError as error:
            raise RefusedWriteError(0, ServiceError(
                ErrorType.VERSION_CONFLICT, f"user {shown(error.id)} has version {error.found}, if_version is "
                f"{error.expected}", "see what was written since, and write again with its version if that is still "
                "right")) from error

    def _forget(self, user_id: str, key: str | None) -> list[Change]:
        try:
            return [self._log.opened().forget(user_id, key)]
        except KeyReusedError as error:
            raise RefusedWriteError(0, key_reused(error)) from error
