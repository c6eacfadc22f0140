"""The address book: a JSON file that says where the shards of a root are, and may change at any time.

`{"shards": [["10.0.0.1:9000"], ["10.0.0.2:9000", "10.0.0.3:9000"]]}` has a list of addresses for each shard, in order;
a shard may be in several places. Whoever starts shards writes it: Ray Serve through `service.cluster`, or a person.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

Address = tuple[str, int]


class AddressBookError(Exception):
    """The address book cannot be used; the message names it and says what to do."""


class AddressBook:
    """Reads the file anew whenever it has changed.

    Args:
        path: of the file, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._addresses: list[list[Address]] = []

    def addresses(self, shard: int) -> list[Address]:
        """Where a shard is, by its number; empty if the file does not say.

        Raises:
            AddressBookError: the file is missing or no address book.
        """
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._addresses, self._seen = _parsed(self.path.read_text()), seen
        except OSError as error:
            raise AddressBookError(f"{self.path} cannot be read ({error.strerror}); it has to say where the shards "
                                   "are") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AddressBookError(f"{self.path} is no address book ({error}); write one like "
                                   '{"shards": [["HOST:PORT"], ["HOST:PORT"]]}') from error
        return self._addresses[shard] if shard < len(self._addresses) else []


def write_addresses(path: Path, addresses: Sequence[Sequence[str]]) -> None:
    """Replaces the address book in one step."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    new.write_text(json.dumps({"shards": [list(places) for places in addresses]}) + "\n")
    os.replace(new, path)


def _parsed(text: str) -> list[list[Address]]:
    return [[parse_address(place) for place in places] for places in json.loads(text)["shards"]]


def parse_address(text: str) -> Address:
    """Host and port of `HOST:PORT`; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
