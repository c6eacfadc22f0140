"""Shard access: how a service reaches the shards of the roots that it opens, by its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.settings import Settings


@dataclass(frozen=True)
class ShardAccess:
    """How a service reaches the shards of the roots that it opens.

    Attributes:
        book: the address book.
        timeout: seconds that a search waits for an answer at most.
        opening: seconds in which all shards must have opened their part of a root.
        connections: to each address, of one open bundle.
    """

    book: Path
    timeout: float
    opening: float
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where they name no address book."""
        if settings.shards is None:
            return None
        return cls(settings.shards, settings.shard_timeout_ms / 1000, settings.load_seconds / 2,
                   settings.search_threads)
