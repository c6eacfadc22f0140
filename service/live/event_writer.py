"""The event writer: checks that the ads of events exist, and appends the events, off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from index_store.changes.change_log import Change, KeyReusedError, Kind, Write
from index_store.live.user_history import AD_ID
from service.contract.errors import ad_not_found
from service.live.log_writer import LogWriter, RefusedWriteError, key_reused


class EventWriter:
    """Appends events.

    Args:
        log: to append to.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    async def append(self, events: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        """Writes all or none; returns once they are durable.

        Args:
            events: of kind EVENT.
            knows: whether the bundle has an ad.

        Raises:
            RefusedWriteError: the first event that cannot be written.
            ServiceError: as LogWriter.in_thread.
        """
        return await self._log.in_thread(lambda: self._append(events, knows))

    def _append(self, events: Sequence[Write], knows: Callable[[str], bool]) -> list[Change]:
        ads = [event.fields[AD_ID] for event in events]
        unknown = {ad_id for ad_id in set(ads) if not knows(ad_id)}
        if unknown and (log := self._log.existing()) is not None:
            unknown -= log.states(Kind.AD, unknown).keys()
        if unknown:
            index = next(index for index, ad_id in enumerate(ads) if ad_id in unknown)
            raise RefusedWriteError(index, ad_not_found(ads[index]))
        try:
            return self._log.group().append(events)
        except KeyReusedError as error:
            raise RefusedWriteError(error.index, key_reused(error)) from error
