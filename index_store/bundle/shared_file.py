"""Small files that several machines read and replace: atomically, and only if nobody else has in the meantime."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Stamp = tuple[int, int, int]
"""Inode, time and size of a file."""


def stamp(path: Path) -> Stamp | None:
    """A value that changes whenever the file is replaced, even by the same content; None if there is none."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def replace(path: Path, content: object, check: Callable[[], None]) -> Stamp:
    """Replaces a file by JSON: a reader finds the old one or the new one, even after a power failure.

    Args:
        path: of the file.
        content: what it is to hold.
        check: looks at the present content while other writers are locked out; what it raises stops the replacement.

    Returns:
        The stamp of the new file.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with _locked(path.parent):
        check()
        try:
            with partial.open("x") as file:
                file.write(json.dumps(content) + "\n")
                file.flush()
                os.fsync(file.fileno())
                written = _stamp(os.fstat(file.fileno()))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return written


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks out other writers for the length of the block, and flushes the folder itself to disk at the end."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)
