"""The event writer: checks that the ads of events exist, charges their campaigns, and appends, off the event loop."""

from __future__ import annotations

from collections.abc import Sequence

from index_store.changes.change_log import Change, KeyReusedError, Kind, Write
from index_store.live.snapshot import Snapshot
from index_store.live.user_history import AD_ID
from service.contract.errors import ad_not_found
from service.live.charging import charged
from service.live.log_writer import LogWriter, RefusedWriteError, key_reused


class EventWriter:
    """Appends events.

    Args:
        log: to append to.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    async def append(self, events: Sequence[Write], snapshot: Snapshot) -> list[Change]:
        """Writes all or none; returns once they are durable.

        Args:
            events: of kind EVENT.
            snapshot: has most ads.

        Raises:
            RefusedWriteError: the first event that cannot be written.
            ServiceError: as LogWriter.in_thread.
        """
        return await self._log.in_thread(lambda: self._append(events, snapshot))

    def _append(self, events: Sequence[Write], snapshot: Snapshot) -> list[Change]:
        ads = [event.fields[AD_ID] for event in events]
        unknown, states = {ad_id for ad_id in set(ads) if snapshot.row(ad_id.encode()) is None}, dict[str, Change]()
        if unknown and (log := self._log.existing()) is not None:
            states = log.states(Kind.AD, unknown)
            unknown -= states.keys()
        if unknown:
            index = next(index for index, ad_id in enumerate(ads) if ad_id in unknown)
            raise RefusedWriteError(index, ad_not_found(ads[index]))
        try:
            return self._log.group().append(charged(events, snapshot, states))
        except KeyReusedError as error:
            raise RefusedWriteError(error.index, key_reused(error)) from error
