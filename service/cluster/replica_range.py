"""How many replicas of each shard there are: a number, or a range within which they follow their load."""

from __future__ import annotations

import re
from typing import NamedTuple


class ReplicaRange(NamedTuple):
    """At least and at most so many; the same number where they are fixed."""

    least: int
    most: int


def parse_replicas(text: int | str) -> ReplicaRange:
    """The range that `3` or `1-4` names.

    Raises:
        ValueError: it names none.
    """
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", str(text))
    if match is None:
        raise ValueError(f"replicas {text!r} are neither a number nor a range; write 2, or 1-4")
    least = int(match[1])
    most = int(match[2] or least)
    if least < 1:
        raise ValueError(f"replicas {text!r} begin at {least}; each shard needs 1 at least")
    if most < least:
        raise ValueError(f"replicas {text!r} end at {most}, before they begin at {least}; write {most}-{least}")
    return ReplicaRange(least, most)
