"""Shard access: how a service reaches the shards of the roots that it opens, by its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from service.settings import Settings, variable


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


def checked(opened: Bundle, access: ShardAccess | None) -> ShardAccess:
    """The access to the shards of a root.

    Raises:
        BundleError: there is none.
    """
    if access is not None:
        return access
    shards = opened.content.shards
    assert shards is not None, "whoever asks has looked"
    raise BundleError(
        opened.files.folder, layout.SHARDS, f"is there: this is the root of {len(shards)} shards, and nothing says "
        "where they are", f"name an address book in {variable('shards')}, or open bundle {shards.bundle_id}, of which "
                          "it was made")
