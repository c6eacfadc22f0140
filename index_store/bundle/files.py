"""Files of a bundle, the contract between the offline job and the service: how they are written, sealed and read.

A bundle is a folder of `.npy`, `.onnx` and `.json` files. It is written into a hidden sibling folder, sealed by a
manifest that holds the checksum of every other file, and renamed into place; after that it is never edited. It is
opened by memory map and without pickle, so the processes of a machine share its pages. `layout` names the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.manifest import FORMAT_VERSION, MANIFEST, RESTORE, BundleError, Manifest, hash_of, read_manifest
from index_store.features.ragged import Ragged


class BundleWriter:
    """Collects the files of a bundle and seals them.

    Args:
        target: folder that must not exist yet.

    Raises:
        BundleError: the target exists.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(target)
        if self.target.exists():
            raise BundleError(self.target, ".", "already exists", "bundles are never edited; choose a new name")
        self.folder = self.target.parent / f".{self.target.name}.{uuid.uuid4().hex[:8]}.partial"
        self.folder.mkdir(parents=True)

    def path(self, name: str) -> Path:
        """Where to write a file of this name."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    def array(self, name: str, values: NDArray[Any]) -> None:
        np.save(self.path(name), np.ascontiguousarray(values), allow_pickle=False)

    def ragged(self, name: str, lists: Ragged) -> None:
        self.array(f"{name}.indptr.npy", lists.indptr)
        self.array(f"{name}.values.npy", lists.values)

    def json(self, name: str, value: object) -> None:
        self.path(name).write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")

    def seal(self, **entries: Any) -> Manifest:
        """Writes the manifest and moves the bundle into place in one rename.

        Args:
            entries: the fields of Manifest that are not computed here.
        """
        names = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        for name in names:
            _sync(self.folder / name)
        with ThreadPoolExecutor() as pool:
            hashes = list(pool.map(lambda name: _sha256(self.folder / name), names))
        files = {name: {"sha256": digest, "bytes": (self.folder / name).stat().st_size}
                 for name, digest in zip(names, hashes, strict=True)}
        draft = Manifest(format_version=FORMAT_VERSION, bundle_id="", files=files, checksum="",
                         created_at=datetime.now(UTC).isoformat(timespec="seconds"), **entries)
        identified = replace(draft, bundle_id=hash_of(asdict(draft), "bundle_id", "created_at", "checksum"))
        manifest = replace(identified, checksum=hash_of(asdict(identified), "checksum"))
        self.json(MANIFEST, asdict(manifest))
        _sync(self.folder / MANIFEST)
        _sync(self.folder)
        self.folder.rename(self.target)
        _sync(self.target.parent)
        return manifest

    def discard(self) -> None:
        """Removes what was written so far, if the caller gives up before `seal`."""
        shutil.rmtree(self.folder, ignore_errors=True)


class BundleFiles:
    """The files of a sealed bundle, checked against its manifest.

    Args:
        folder: the bundle.
        verify: also compare every checksum (reads every byte once).

    Raises:
        BundleError: the manifest is missing, broken or of a newer format; or a file is missing or differs from it.
    """

    def __init__(self, folder: Path, *, verify: bool) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        names = list(self.manifest.files)
        for name in names:
            self._check_size(name)
        if verify:
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._check_hash, names))

    def error(self, file: str, reason: str) -> BundleError:
        return BundleError(self.folder, file, reason, RESTORE)

    def path(self, name: str) -> Path:
        """Path of a file that the manifest lists.

        Raises:
            BundleError: the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise self.error(name, "is not listed in manifest.json")
        return self.folder / name

    def array(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """A memory-mapped array, checked for dtype and shape (None = any size).

        Raises:
            BundleError: it is missing, unreadable, or has another dtype or shape.
        """
        values = self._load(name)
        kind = np.dtype(dtype)
        if values.dtype != kind and not (kind.kind == "S" and values.dtype.kind == "S"):
            raise self.error(name, f"has dtype {values.dtype}, expected {kind}")
        if values.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, values.shape, strict=True)):
            raise self.error(name, f"has shape {values.shape}, expected {shape}")
        return np.asarray(values)

    def _load(self, name: str) -> NDArray[Any]:
        path = self.path(name)
        try:
            values: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None,
                                           allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise self.error(name, f"is not a readable array ({error})") from error
        return values

    def storage(self, name: str, shape: tuple[int, int]) -> NDArray[Any]:
        """Embeddings: an `array` of float32 or float16, whichever the bundle stores."""
        half = self._load(name).dtype == np.float16
        return self.array(name, np.float16 if half else np.float32, shape)

    def ragged(self, name: str, rows: int, below: int | None = None) -> Ragged:
        """Lists written by `BundleWriter.ragged`.

        Args:
            name: of the lists.
            rows: number of lists.
            below: values must lie in [0, below); None for any.

        Raises:
            BundleError: they are missing or of another number of rows, the offsets do not rise from 0 to the number of
                values, or a value lies outside.
        """
        values = self.array(f"{name}.values.npy", np.int32, (None,))
        indptr = self.array(f"{name}.indptr.npy", np.int64, (rows + 1,))
        falls = np.flatnonzero(indptr[1:] < indptr[:-1])
        if indptr[0] != 0 or indptr[-1] != len(values):
            raise self.error(f"{name}.indptr.npy", f"runs from {indptr[0]} to {indptr[-1]}, there are {len(values)} "
                                                   "values")
        if len(falls):
            at = int(falls[0])
            raise self.error(f"{name}.indptr.npy", f"falls from {indptr[at]} to {indptr[at + 1]} after row {at}")
        if below is not None and len(values) and not (values.min() >= 0 and values.max() < below):
            raise self.error(f"{name}.values.npy", f"has values from {values.min()} to {values.max()}, they must lie "
                                                   f"in 0..{below - 1}")
        return Ragged(indptr, values)

    def json(self, name: str) -> Any:
        """Raises BundleError if the file is not valid JSON."""
        try:
            return json.loads(self.path(name).read_bytes())
        except ValueError as error:
            raise self.error(name, f"is not valid JSON ({error})") from error

    def _check_size(self, name: str) -> None:
        try:
            size = (self.folder / name).stat().st_size
        except OSError as error:
            raise self.error(name, "is missing") from error
        expected = self.manifest.files[name]["bytes"]
        if size != expected:
            raise self.error(name, f"has {size} bytes, the manifest says {expected}")

    def _check_hash(self, name: str) -> None:
        found, expected = _sha256(self.folder / name), self.manifest.files[name]["sha256"]
        if found != expected:
            raise self.error(name, f"has checksum {found[:12]}…, the manifest says {expected[:12]}…")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
