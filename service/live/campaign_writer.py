"""The campaign writer: checks what callers declare against the change log, and appends it, off the event loop."""

from __future__ import annotations

from index_store.budgets.campaign import CURRENCY
from index_store.changes.change_log import Change, KeyReusedError, Kind, VersionConflictError, Write
from service.contract.errors import ErrorType, ServiceError, shown
from service.live.log_writer import LogWriter, RefusedWriteError, key_reused


class CampaignWriter:
    """Reads and appends states of campaigns. All methods raise ServiceError as LogWriter.in_thread.

    Args:
        log: to read and append to.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    async def put(self, write: Write) -> list[Change]:
        """Writes the state of a campaign; returns once it is durable.

        Raises:
            RefusedWriteError: it has another currency, or another version than expected, or the key was used before.
        """
        return await self._log.in_thread(lambda: self._put(write))

    async def state(self, campaign_id: str) -> Change | None:
        """The last change of a campaign; None if it was never declared."""
        def read() -> Change | None:
            log = self._log.existing()
            return None if log is None else log.state(Kind.CAMPAIGN, campaign_id)

        return await self._log.in_thread(read)

    def _put(self, write: Write) -> list[Change]:
        self._check_currency(write)
        try:
            return self._log.group().append([write])
        except KeyReusedError as error:
            raise RefusedWriteError(0, key_reused(error)) from error
        except VersionConflictError as error:
            raise RefusedWriteError(0, ServiceError(
                ErrorType.VERSION_CONFLICT, f"campaign {shown(error.id)} has version {error.found}, if_version is "
                f"{error.expected}", "look at the campaign, and write again with its version if that is still right")
            ) from error

    def _check_currency(self, write: Write) -> None:
        """All bids of an index are in one currency, and so are the budgets that they spend."""
        log = self._log.existing()
        first = None if log is None else next(iter(log.last_states(Kind.CAMPAIGN, log.last())), None)
        if first is not None and first.fields[CURRENCY] != write.fields[CURRENCY]:
            raise RefusedWriteError(0, ServiceError(
                ErrorType.INVALID_VALUE, f"currency is {write.fields[CURRENCY]}, but that of campaign "
                f"{shown(first.id)}, and with it of all bids of this index, is {first.fields[CURRENCY]}",
                f"give the budget in {first.fields[CURRENCY]}, or keep ads of another currency in an index of their "
                "own"))
