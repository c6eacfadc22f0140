"""Bundle folders, and the pointer in them that names the bundle to serve.

    bundles/current      {"bundle": "2026-11-24", "previous": "2026-11-23"}
    bundles/2026-11-24/  a sealed bundle; bundles/2026-11-23/ another

The service follows the pointer; promoting a bundle replaces it atomically. This module only reads and writes the
pointer: it does not open bundles or check that they are sound.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from index_store.bundle import shared_file
from index_store.bundle.manifest import MANIFEST
from index_store.bundle.shared_file import Stamp

POINTER = "current"
TRIALS = "trials"
"""The file of trials beside the pointer, see `trials`."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAMES = "1 to 128 of A-Z a-z 0-9 . _ -, no dot or dash first, and not 'current' or 'trials'"
_MOST_BYTES = 4096


class PointerError(Exception):
    """The pointer, or the file of trials beside it, cannot be read or written; the message is `fact; remedy`.

    Attributes:
        reason: what is wrong with it.
        fact: the same, with its path before it.
        remedy: what to do.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        fact = f"{path}: {reason}"
        super().__init__(f"{fact}; {remedy}")
        self.reason, self.fact, self.remedy = reason, fact, remedy


class BundleNameError(ValueError):
    """The name is not a valid bundle name."""


class PointerChangedError(PointerError):
    """Another process has replaced the file in the meantime."""


@dataclass(frozen=True)
class Pointer:
    """The pointer's content: names of folders beside it.

    Attributes:
        bundle: the bundle to serve.
        previous: the one before, to which a rollback returns; None if there was none.
    """

    bundle: str
    previous: str | None = None

    def to(self, name: str) -> Pointer:
        """The pointer after the promotion of another bundle."""
        return self if name == self.bundle else Pointer(name, self.bundle)


def is_bundle_folder(folder: Path) -> bool:
    """Whether a folder holds bundles, with or without a pointer, and is not a bundle itself."""
    if not folder.is_dir() or (folder / MANIFEST).exists():
        return False
    return (folder / POINTER).exists() or bool(bundle_names(folder))


def served_bundle(folder: Path) -> Path:
    """The bundle to serve from a path: the one that its pointer names, or the folder itself.

    Raises:
        PointerError: it is a bundle folder whose pointer is missing or unreadable.
    """
    return folder / read(folder).bundle if is_bundle_folder(folder) else folder


def check_name(name: str) -> str:
    """Returns the name if it is a valid bundle name: one path component, not hidden.

    Raises:
        BundleNameError: it cannot; the message says what can.
    """
    if not _NAME.fullmatch(name) or name in (POINTER, TRIALS):
        raise BundleNameError(f"{name[:140]!r} is not a bundle name; give {_NAMES}")
    return name


def bundle_names(folder: Path) -> list[str]:
    """Names of the folders that look like sealed bundles, sorted.

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(entry.name for entry in folder.iterdir()
                  if _NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file())


def read(folder: Path) -> Pointer:
    """Reads the pointer.

    Raises:
        PointerError: it is missing, unreadable or holds an invalid name.
    """
    path, remedy = folder / POINTER, f"set it with `python -m index_store promote {folder} NAME`"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
        entries = json.loads(text)
    except FileNotFoundError as error:
        raise PointerError(path, "is missing", remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PointerError(path, f"is not readable ({error})", remedy) from error
    if not isinstance(entries, dict) or not set(entries) <= {"bundle", "previous"}:
        raise PointerError(path, f"holds {text[:80]!r}, expected an object with bundle and previous", remedy)
    return Pointer(_name(path, entries.get("bundle"), remedy),
                   None if entries.get("previous") is None else _name(path, entries["previous"], remedy))


def _name(path: Path, value: Any, remedy: str) -> str:
    if not isinstance(value, str):
        raise PointerError(path, f"names {value!r:.80}, expected a string", remedy)
    try:
        return check_name(value)
    except BundleNameError as error:
        raise PointerError(path, str(error), remedy) from error


def read_if_any(folder: Path) -> Pointer | None:
    """Reads the pointer; None if it is missing or unreadable."""
    try:
        return read(folder)
    except PointerError:
        return None


def stamp(folder: Path) -> Stamp | None:
    """A value that changes whenever the pointer is replaced, even by the same content; None if there is no pointer."""
    return shared_file.stamp(folder / POINTER)


def replace(folder: Path, pointer: Pointer, expected: Pointer | None) -> Stamp:
    """Replaces the pointer atomically: a reader finds the old one or the new one, even after a power failure.

    Args:
        folder: the bundle folder.
        pointer: the new content.
        expected: the content that the caller last saw; None if it was missing or unreadable.

    Returns:
        The stamp of the new file.

    Raises:
        PointerChangedError: the content is no longer the expected one.
        PointerError: it cannot be written.
    """
    path = folder / POINTER

    def check() -> None:
        if (found := read_if_any(folder)) != expected:
            raise PointerChangedError(path, f"holds {found}, expected {expected}: it was replaced in the meantime",
                                      "look at it and try again")

    try:
        return shared_file.replace(path, asdict(pointer), check)
    except OSError as error:
        raise PointerError(path, f"cannot be written ({error.strerror})",
                           "make the folder writable for the user that promotes bundles") from error
