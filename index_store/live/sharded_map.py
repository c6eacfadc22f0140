"""An immutable map whose successors share what did not change: changes copy the shards of their keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Value = TypeVar("Value")

SHARDS = 1 << 12


@dataclass(frozen=True, eq=False)
class ShardedMap(Generic[Value]):
    """A map from ids to values.

    With bytes for values it holds no object that Python's garbage collector looks at, however many entries it has.

    Attributes:
        most: entries of a shard; those that were set least recently go.
        shards: id -> value, in the order in which they were set.
        count: of all entries.
    """

    most: int
    shards: tuple[dict[bytes, Value], ...] = ({},) * SHARDS
    count: int = 0

    @classmethod
    def of(cls, most: int) -> Self:
        """An empty map of about `most` entries at most."""
        return cls(max(1, most // SHARDS))

    def get(self, key: bytes) -> Value | None:
        """The value of a key; None if there is none."""
        return self.shards[hash(key) % SHARDS].get(key)

    def replaced(self, changed: Mapping[bytes, Value | None]) -> Self:
        """The map with the values of some keys replaced; None removes one."""
        copies: dict[int, dict[bytes, Value]] = {}
        for key, value in changed.items():
            number = hash(key) % SHARDS
            if number not in copies:
                copies[number] = dict(self.shards[number])
            copies[number].pop(key, None)
            if value is not None:
                copies[number][key] = value
        if not copies:
            return self
        shards, count = list(self.shards), self.count
        for number, shard in copies.items():
            while len(shard) > self.most:
                del shard[next(iter(shard))]
            count += len(shard) - len(shards[number])
            shards[number] = shard
        return type(self)(self.most, tuple(shards), count)
