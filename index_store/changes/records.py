"""What a store keeps of a change: the entry that readers see, and what its idempotency key was used for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from index_store.changes.change_log import Change, Write


@dataclass(frozen=True, kw_only=True)
class Record:
    """A change as it is stored and backed up.

    Attributes:
        change: the entry that readers see.
        key: the idempotency key of the write that made it; None if it had none.
        fingerprint: of that write; None if it had no key.
    """

    change: Change
    key: str | None
    fingerprint: str | None


def fingerprint(write: Write) -> str | None:
    """What two writes with the same key must have in common: a hash of ad and fields; None for a write without a key.

    Raises:
        ValueError, TypeError: a value is not JSON, such as NaN.
    """
    if write.key is None:
        return None
    return hashlib.sha256(json_text([write.ad_id, dict(write.fields)]).encode()).hexdigest()


def json_text(value: Any) -> str:
    """JSON with sorted names and without spaces: equal values have equal texts.

    Raises:
        ValueError, TypeError: the value is not JSON, such as NaN.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
