"""The change log: one ordered, durable log of what was said about the ads, campaigns and users of an index since its
bundles were sealed, and of what its users did.

A write names an ad, a campaign or a user and the fields that it sets. The log gives each change the next sequence
number and keeps the whole state after it, so that a reader needs nothing that came before: of each the last change
counts. An event has no state: every one of them counts. Two stores implement the log, SQLite for one machine and Redis
for several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

NEVER_CHANGED = 0
"""Version of an ad or user that the log does not know, and the sequence number before the first change."""

RESTORE = "restore a backup with `python -m index_store changes restore`"
"""Remedy for a log that is damaged or lacks changes."""

NEWER = "use the version of the program that wrote it, or a newer one"
"""Remedy for a log of a later format."""

PUT_BACK = "put that one back, or restart what uses it to go on with this one"
"""Remedy for a log that was replaced while it was open."""

OLDER = "such a log, from before a release, cannot be converted: delete it, and make the changes again in a new one"
"""Remedy for a log of an earlier format."""


class Kind(StrEnum):
    """What an entry of the log is. Ads, campaigns and users have states and versions; they may have the same ids."""

    AD = "ad"
    """The state of an ad."""

    CAMPAIGN = "campaign"
    """The state of a campaign."""

    USER = "user"
    """The state of a user."""

    EVENT = "event"
    """What a user did."""

    FORGOTTEN = "forgotten"
    """A user is forgotten: nothing counts that was said about them before, here or in a bundle."""

    ERASED = "erased"
    """What is left of an entry of a user who was forgotten later: its number, its time, and what an event spent."""

    @property
    def has_state(self) -> bool:
        return self in STATEFUL


STATEFUL = (Kind.AD, Kind.CAMPAIGN, Kind.USER)
"""Kinds whose last change is a state."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """What a caller says about one ad, campaign or user, or one event of a user.

    Attributes:
        kind: AD, CAMPAIGN, USER or EVENT.
        id: of the ad, campaign or user; for an event, of its user.
        fields: JSON values by name; they replace those in the state, and the others stay. An event has these alone.
        if_version: version that the ad or user must have; NEVER_CHANGED for one that the log does not know, None for
            any. An event has none.
        key: idempotency key; a later write with the same key changes nothing and gets the change that the first one
            made. None for none.
        noted: more fields, which whoever accepts the write adds; a repeated write may have others.
    """

    kind: Kind
    id: str
    fields: Mapping[str, Any]
    if_version: int | None = None
    key: str | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind in (Kind.FORGOTTEN, Kind.ERASED):
            raise ValueError(f"an entry of kind {self.kind} cannot be asked for; forget makes it")
        if self.if_version is not None and not self.kind.has_state:
            raise ValueError(f"an entry of kind {self.kind} has no version; leave if_version out")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One entry of the log.

    Attributes:
        sequence: its number, from 1 and without gaps; also the version of its ad or user from then on.
        at: when it was made, in seconds since 1970.
        kind: what it is.
        id: of the ad, campaign or user; for an event, of its user. Empty if it was erased.
        fields: the whole state after it, or what the event says, or has spent if it was erased: JSON values by name.
    """

    sequence: int
    at: float
    kind: Kind
    id: str
    fields: Mapping[str, Any]


class ChangeLogError(Exception):
    """The log cannot be used; the message says why.

    Attributes:
        remedy: what to do.
    """

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}; {remedy}")
        self.fact, self.remedy = fact, remedy


class TrimmedError(ChangeLogError):
    """Entries are asked for that were trimmed.

    Attributes:
        after, trimmed: those that follow `after` are asked for; those up to `trimmed` were removed.
    """

    def __init__(self, name: str, after: int, trimmed: int) -> None:
        super().__init__(f"{name} was trimmed: its entries up to {trimmed} were removed, and those after {after} are "
                         "asked for", f"use a bundle that includes the changes up to {trimmed}, or {RESTORE}")
        self.after, self.trimmed = after, trimmed


class VersionConflictError(Exception):
    """A write expects a version that its ad or user does not have; nothing was written.

    Attributes:
        index: of the write in its sequence.
        kind, id, expected, found: of the ad or user, with both versions.
    """

    def __init__(self, index: int, write: Write, found: int) -> None:
        self.expected = NEVER_CHANGED if write.if_version is None else write.if_version
        super().__init__(f"{write.kind} {write.id} has version {found}, not {self.expected}")
        self.index, self.kind, self.id, self.found = index, write.kind, write.id, found


class KeyReusedError(Exception):
    """An idempotency key was used before, for another ad or user or other fields; nothing was written.

    Attributes:
        index: of the write in its sequence.
        key: that key.
    """

    def __init__(self, index: int, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another write")
        self.index, self.key = index, key


class ChangeLog(Protocol):
    """What both stores do. Calls block; several processes may use one log at once, threads of one process too.

    A log that was replaced while it was open, by another one or by one that ends before what was read from it, is
    neither read nor written any more: each call raises ChangeLogError until the former one is back.
    """

    @property
    def log_id(self) -> str:
        """A random name that the log was created with; a backup keeps it, and so does what is restored from one."""

    def append(self, writes: Sequence[Write]) -> list[Change]:
        """Writes all or none, in order, as successive changes; returns once they are durable.

        Raises:
            VersionConflictError, KeyReusedError: the first write that cannot be made.
            ChangeLogError: the log cannot be written. Nothing was, unless the message says that this is not known; then
                the same writes with the same keys can be repeated.
        """

    def forget(self, user_id: str, key: str | None = None) -> Change:
        """Erases all earlier entries of a user and appends that the user is forgotten; returns once it is durable.

        The entries keep their numbers; content, id and idempotency key are gone, but for what `records.left_of` says,
        and the user has no state.

        Args:
            user_id: of the user.
            key: idempotency key, see Write.

        Raises:
            KeyReusedError, ChangeLogError: as append.
        """

    def read(self, after: int, most: int = 1_000) -> list[Change]:
        """The changes that follow sequence number `after`, in order, `most` of them at most.

        Raises:
            TrimmedError: some of them were trimmed.
            ChangeLogError: the log cannot be read, or no longer has all of them.
        """

    def last_states(self, kind: Kind, through: int) -> Iterator[Change]:
        """The last change of each ad, campaign or user that has none after sequence number `through`, in order.

        They are there even if they were trimmed.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def trim(self, through: int) -> None:
        """Removes the entries up to a sequence number and their idempotency keys, but for the last states.

        It removes some hundreds at a time, so that others can use the log meanwhile; one that is interrupted can be
        repeated.

        Raises:
            ChangeLogError: the log ends before that number, or cannot be written.
        """

    def trimmed(self) -> int:
        """Sequence number of the last entry that was trimmed; NEVER_CHANGED if none was.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def wait(self, after: int, seconds: float) -> bool:
        """Whether there is a change after `after`; returns as soon as there is one, or after that time.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def state(self, kind: Kind, subject: str) -> Change | None:
        """The last change of an ad or user by its id; None if it was never changed.

        Raises:
            ChangeLogError: the log cannot be read.
        """

    def states(self, kind: Kind, subjects: Collection[str]) -> dict[str, Change]:
        """The last change of each of these ads or users that was ever changed, by id, all as of the same moment.

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
