"""What a store keeps of a change: the entry that readers see, and what its idempotency key was used for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from index_store.changes.change_log import Change, Kind, Write


@dataclass(frozen=True, kw_only=True)
class Record:
    """A change as it is stored and backed up.

    Attributes:
        change: the entry that readers see.
        key: the idempotency key of the write that made it; None if it had none.
        fingerprint: of that write; None if it had no key.
    """

    change: Change
    key: str | None = None
    fingerprint: str | None = None


CAMPAIGN, SPENT, AT = "campaign", "spent_nanos", "at"
"""Fields of an event: the campaign of its ad, what it has spent of its budget in billionths of a unit of the currency,
and when it was in seconds since 1970, left out if that is when it was written."""


def left_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry that stay when it is erased: what was spent remains spent, whoever caused it."""
    return {name: fields[name] for name in (CAMPAIGN, SPENT, AT) if name in fields} if CAMPAIGN in fields else {}


def erased(sequence: int, at: float, left: Mapping[str, Any]) -> Record:
    """What is left of an entry that was erased."""
    return Record(change=Change(sequence=sequence, at=at, kind=Kind.ERASED, id="", fields=left))


def fingerprint(write: Write) -> str | None:
    """What two writes with the same key must have in common: a hash of kind, id and fields; None for one without.

    Raises:
        ValueError, TypeError: a value is not JSON, such as NaN.
    """
    if write.key is None:
        return None
    return _hash(write.kind, write.id, write.fields)


def fingerprint_of_forget(user_id: str) -> str:
    """What two calls of `forget` with the same key must have in common."""
    return _hash(Kind.FORGOTTEN, user_id, {})


def _hash(kind: Kind, subject: str, fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_text([kind, subject, dict(fields)]).encode()).hexdigest()


def json_text(value: Any) -> str:
    """JSON with sorted names and without spaces: equal values have equal texts.

    Raises:
        ValueError, TypeError: the value is not JSON, such as NaN.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
