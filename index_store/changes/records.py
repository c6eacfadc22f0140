"""What a store keeps of a change: the entry that readers see, and what its idempotency key was used for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from index_store.changes.change_log import Change, KeyReusedError, Write


@dataclass(frozen=True, kw_only=True)
class Record:
    """A change as it is stored and backed up.

    Attributes:
        change: the entry that readers see.
        key: the idempotency key of the write that made it; None if it had none.
        written: JSON of the fields that this write gave; None if it had no key.
    """

    change: Change
    key: str | None
    written: str | None

    def repeated(self, write: Write, index: int) -> Change:
        """The change that a later write with the same key gets.

        Args:
            write: bears this record's key.
            index: of the write in its sequence.

        Raises:
            KeyReusedError: it is for another ad or gives other fields.
        """
        if write.key is None or (self.change.ad_id, self.written) != (write.ad_id, json_text(write.fields)):
            raise KeyReusedError(index, str(self.key))
        return self.change


def json_text(fields: Mapping[str, Any]) -> str:
    """JSON with sorted names and without spaces: equal fields have equal texts.

    Raises:
        ValueError, TypeError: a value is not JSON, such as NaN.
    """
    return json.dumps(dict(fields), sort_keys=True, separators=(",", ":"), allow_nan=False)
