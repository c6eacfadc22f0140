"""The change log: one ordered, durable log of what was said about the ads of an index since its bundles were sealed.

A write names an ad and the fields that it sets. The log gives each change the next sequence number and keeps the whole
state of the ad after it, so that a reader needs nothing that came before: per ad, the last change counts. Two stores
implement it, SQLite for one machine and Redis for several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

NEVER_CHANGED = 0
"""Version of an ad that the log does not know, and the sequence number before the first change."""


RESTORE = "restore a backup with `python -m index_store changes restore`"
"""Remedy for a log that is damaged or lacks changes."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """What a caller says about one ad.

    Attributes:
        ad_id: of the ad.
        fields: JSON values by name; they replace those in the ad's state, and the others stay.
        if_version: version that the ad must have; NEVER_CHANGED for one that the log does not know, None for any.
        key: idempotency key; a later write with the same key changes nothing and gets the change that the first one
            made. None for none.
    """

    ad_id: str
    fields: Mapping[str, Any]
    if_version: int | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """One entry of the log.

    Attributes:
        sequence: its number, from 1 and without gaps; also the version of the ad from then on.
        at: when it was made, in seconds since 1970.
        ad_id: of the ad.
        fields: the ad's whole state after it, JSON values by name.
    """

    sequence: int
    at: float
    ad_id: str
    fields: Mapping[str, Any]


class ChangeLogError(Exception):
    """The log cannot be used; the message says why.

    Attributes:
        remedy: what to do.
    """

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}; {remedy}")
        self.fact, self.remedy = fact, remedy


class VersionConflictError(Exception):
    """A write expects a version that its ad does not have; nothing was written.

    Attributes:
        index: of the write in its sequence.
        ad_id, expected, found: of the ad, with both versions.
    """

    def __init__(self, index: int, ad_id: str, expected: int, found: int) -> None:
        super().__init__(f"ad {ad_id} has version {found}, not {expected}")
        self.index, self.ad_id, self.expected, self.found = index, ad_id, expected, found


class KeyReusedError(Exception):
    """An idempotency key was used before, for another ad or other fields; nothing was written.

    Attributes:
        index: of the write in its sequence.
        key: that key.
    """

    def __init__(self, index: int, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another write")
        self.index, self.key = index, key


class ChangeLog(Protocol):
    """What both stores do. Calls block; several processes may use one log at once, threads of one process too."""

    def append(self, writes: Sequence[Write]) -> list[Change]:
        """Writes all or none, in order, as successive changes; returns once they are durable.

        Raises:
            VersionConflictError, KeyReusedError: the first write that cannot be made.
            ChangeLogError: the log cannot be written. Nothing was, unless the message says that this is not known; then
                the same writes with the same keys can be repeated.
        """

    def read(self, after: int, most: int = 1_000) -> list[Change]:
        """The changes that follow sequence number `after`, in order, `most` of them at most.

        Raises:
            ChangeLogError: the log cannot be read, or no longer has all of them.
        """

    def wait(self, after: int, seconds: float) -> bool:
        """Whether there is a change after `after`; returns as soon as there is one, or after that time.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def state(self, ad_id: str) -> Change | None:
        """The last change of an ad; None if it was never changed.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def last(self) -> int:
        """Sequence number of the last change; NEVER_CHANGED if there is none.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def close(self) -> None:
        """Ends its connections."""
