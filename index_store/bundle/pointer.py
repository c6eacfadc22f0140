"""A folder of bundles, and the pointer in it that says which of them is to be served.

    bundles/current      {"bundle": "2026-11-24", "previous": "2026-11-23"}
    bundles/2026-11-24/  a sealed bundle; bundles/2026-11-23/ another

The pointer is the truth: whoever serves from the folder follows it, whoever promotes a bundle replaces it, atomically.
This module knows files; it opens no bundle and does not ask whether one is sound.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index_store.bundle.manifest import MANIFEST

POINTER = "current"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAMES = "1 to 128 of A-Z a-z 0-9 . _ -, no dot or dash first, and not 'current'"
_MOST_BYTES = 4096


class PointerError(Exception):
    """The pointer cannot be read or written; the message is `fact; remedy`.

    Attributes:
        reason: what is wrong with it.
        fact: the same, with its path before it.
        remedy: what to do.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        fact = f"{path}: {reason}"
        super().__init__(f"{fact}; {remedy}")
        self.reason, self.fact, self.remedy = reason, fact, remedy


Stamp = tuple[int, int, int]
"""Inode, time and size of the pointer's file."""


class BundleNameError(ValueError):
    """This is no name of a bundle in a folder of bundles."""


class PointerChangedError(PointerError):
    """Somebody else has replaced the pointer meanwhile."""


@dataclass(frozen=True)
class Pointer:
    """What the file says: names of folders beside it.

    Attributes:
        bundle: the bundle to serve.
        previous: the one before, to which a rollback goes; None where there was none.
    """

    bundle: str
    previous: str | None = None

    def to(self, name: str) -> Pointer:
        """The pointer after the promotion of another bundle."""
        return self if name == self.bundle else Pointer(name, self.bundle)


def is_store(folder: Path) -> bool:
    """Whether a folder is one of bundles, with a pointer or still without, and not a bundle itself."""
    if not folder.is_dir() or (folder / MANIFEST).exists():
        return False
    return (folder / POINTER).exists() or bool(bundle_names(folder))


def served_bundle(folder: Path) -> Path:
    """The bundle that a folder stands for: the one that its pointer names, or the folder itself.

    Raises:
        PointerError: it is a folder of bundles whose pointer is missing or unreadable.
    """
    return folder / read(folder).bundle if is_store(folder) else folder


def check_name(name: str) -> str:
    """The name of a bundle in a folder of bundles: one path component that is no hidden one.

    Raises:
        BundleNameError: it is no such name; the message says what is.
    """
    if not _NAME.fullmatch(name) or name == POINTER:
        raise BundleNameError(f"{name[:140]!r} is no name of a bundle: {_NAMES}")
    return name


def bundle_names(store: Path) -> list[str]:
    """Folders of a folder of bundles that look like sealed ones, sorted by name.

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(entry.name for entry in store.iterdir()
                  if _NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file())


def read(store: Path) -> Pointer:
    """What the pointer says.

    Raises:
        PointerError: it is missing, unreadable or names what is no name.
    """
    path, remedy = store / POINTER, f"set it with `python -m index_store promote {store} NAME`"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
        entries = json.loads(text)
    except FileNotFoundError as error:
        raise PointerError(path, "is missing", remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PointerError(path, f"is not readable ({error})", remedy) from error
    if not isinstance(entries, dict) or not set(entries) <= {"bundle", "previous"}:
        raise PointerError(path, f"holds {text[:80]!r}, an object with bundle and previous was expected", remedy)
    return Pointer(_name(path, entries.get("bundle"), remedy),
                   None if entries.get("previous") is None else _name(path, entries["previous"], remedy))


def _name(path: Path, value: Any, remedy: str) -> str:
    if not isinstance(value, str):
        raise PointerError(path, f"names {value!r:.80}, a text was expected", remedy)
    try:
        return check_name(value)
    except BundleNameError as error:
        raise PointerError(path, str(error), remedy) from error


def read_if_any(store: Path) -> Pointer | None:
    """What the pointer says; None where there is none that can be read."""
    try:
        return read(store)
    except PointerError:
        return None


def stamp(store: Path) -> Stamp | None:
    """Changes whenever the pointer is replaced, even by one that says the same; None while there is none."""
    try:
        return _stamp((store / POINTER).stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def replace(store: Path, pointer: Pointer, expected: Pointer | None) -> Stamp:
    """Replaces the pointer atomically: a reader finds the former one or this one, also after a power failure.

    Args:
        store: folder of bundles.
        pointer: what it is to say.
        expected: what it says now, as the caller knows it; None where there is none or none that can be read.

    Returns:
        The stamp of what was written.

    Raises:
        PointerChangedError: it says something else by now.
        PointerError: it cannot be written.
    """
    path = store / POINTER
    partial = store / f".{POINTER}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with _locked(store):
            found = read_if_any(store)
            if found != expected:
                raise PointerChangedError(path, f"says {found}, {expected} was expected: somebody else has replaced "
                                                "it meanwhile", "look at it and try again")
            try:
                with partial.open("x") as file:
                    file.write(json.dumps(asdict(pointer)) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                    written = _stamp(os.fstat(file.fileno()))
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        return written
    except OSError as error:
        raise PointerError(path, f"cannot be written ({error.strerror})",
                           "make the folder writable for whoever promotes bundles") from error


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Between looking and replacing nobody else does either; afterwards the folder itself is on disk."""
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        os.fsync(folder)
    finally:
        os.close(folder)
