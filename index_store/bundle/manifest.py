"""The manifest of a bundle: what it holds, its format version, and the error for a bundle that cannot be used."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT_VERSION = 8
READABLE_VERSIONS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Version 2 joined the postings of all key families in one space of keys; `format_1` reads the older form. Version 3
lets levels have scorers of their own, for a stacked MoNN; older versions have one for all levels. Version 4 has
spectral towers and more values for each key. Version 5 says which changes the bundle includes; older ones include none.
Version 6 may have bids and calibrations, and its declaration says who pays for what. Version 7 may have predicates
about places, context fields of kind location, and context that the model reads. Version 8 may have spectral vectors of
more than 256 directions, those beyond in 4 bits each, a scorer for all nodes that only ranks them, and the arrays of
folded scorers beside their graphs.
"""

_FILE_NAME = re.compile(r"(?:[A-Za-z0-9_]+/)?[A-Za-z0-9_.]+\.(?:npy|onnx|json)")


class BundleError(Exception):
    """The bundle cannot be used; the message is `fact; remedy`.

    Attributes:
        file: within the bundle.
        reason: what is wrong with the file, with both values.
        fact: the same, with the bundle and the file before it.
        remedy: what to do.
    """

    def __init__(self, path: Path, file: str, reason: str, remedy: str) -> None:
        fact = f"bundle {path}: {file}: {reason}"
        super().__init__(f"{fact}; {remedy}")
        self.file, self.reason, self.fact, self.remedy = file, reason, fact, remedy


RESTORE = "restore the bundle from its source or export it again"


@dataclass(frozen=True)
class LevelEntry:
    """A level in the manifest.

    Attributes:
        level: from 1, the coarsest.
        nodes: number of nodes.
        scorer: ONNX file that scores them.
        width: of a node's stored embedding, which the scorer reads.
        ensemble: whether its logits are added to the items' (Section 4.6), or only rank the beam.
    """

    level: int
    nodes: int
    scorer: str
    width: int
    ensemble: bool


@dataclass(frozen=True)
class SearchDefaults:
    """Search settings of the bundle: nodes kept at each level above the items, and ads returned."""

    beam_width: tuple[int, ...]
    top_k: int


@dataclass(frozen=True)
class Manifest:
    """The manifest of a bundle.

    Attributes:
        bundle_id: hash of the content: of everything below but `created_at` and `checksum`.
        dims: `user_embedding`, `interaction`.
        calibrated: whether the tasks were trained on impressions, so that probabilities mean something.
        counts: `items`, `users`.
        files: name -> {`sha256`, `bytes`} of every other file.
        checksum: hash of the manifest's other entries.
        changes_included: sequence number of the last change of the change log that the bundle was trained and exported
            with; 0 for none. Only what came later has to be replayed.
        change_log_id: of that log; empty if it is not known.
    """

    format_version: int
    bundle_id: str
    created_at: str
    dims: Mapping[str, int]
    tasks: tuple[str, ...]
    calibrated: bool
    levels: tuple[LevelEntry, ...]
    counts: Mapping[str, int]
    search: SearchDefaults
    files: Mapping[str, Mapping[str, Any]]
    checksum: str
    changes_included: int = 0
    change_log_id: str = ""

    @property
    def scorers(self) -> tuple[str, ...]:
        """The ONNX files of the layers, coarse to fine."""
        return tuple(dict.fromkeys(level.scorer for level in self.levels))

    @property
    def ensemble(self) -> tuple[int, ...]:
        """Levels above the items whose logits are part of the items'."""
        return tuple(entry.level for entry in self.levels[:-1] if entry.ensemble)

    def fingerprint(self, files: Iterable[str]) -> str:
        """Hash of the contents of some files, from their checksums."""
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(f"{name} {self.files[name]['sha256']}\n".encode())
        return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks the manifest of a bundle.

    Raises:
        BundleError: it is missing, broken or inconsistent, or its format is newer.
    """
    if not folder.is_dir():
        raise BundleError(folder, ".", "is not a folder", "name the folder that `python -m model export` wrote")
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
        version = data["format_version"]
    except FileNotFoundError as error:
        raise BundleError(folder, MANIFEST, "is missing, so this is not a sealed bundle", RESTORE) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(folder, MANIFEST, f"is not readable ({error!r})", RESTORE) from error
    if version not in READABLE_VERSIONS:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise BundleError(folder, MANIFEST, f"has format version {version}, this program reads up to {FORMAT_VERSION}",
                          "install a newer release of the service" if newer else RESTORE)
    try:
        expected = hash_of(data, "checksum")
        manifest = Manifest(**{**data, "tasks": tuple(data["tasks"]), "levels": _levels(data),
                               "search": SearchDefaults(tuple(data["search"]["beam_width"]), data["search"]["top_k"])})
        names = [name for name, entry in manifest.files.items() if (entry["sha256"], entry["bytes"])]
        if type(manifest.changes_included) is not int or manifest.changes_included < 0:
            raise TypeError(f"changes_included is {manifest.changes_included!r}")
        if type(manifest.change_log_id) is not str:
            raise TypeError(f"change_log_id is {manifest.change_log_id!r}")
    except (TypeError, KeyError, AttributeError) as error:
        raise BundleError(folder, MANIFEST, f"is not a manifest ({error!r})", RESTORE) from error
    if manifest.checksum != expected:
        raise BundleError(folder, MANIFEST, f"has checksum {manifest.checksum}, its entries have {expected}", RESTORE)
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise BundleError(folder, MANIFEST, f"lists a file named {name!r}", RESTORE)
    last_levels = {entry.scorer: entry.level for entry in manifest.levels}
    ensemble_levels = [entry.level for entry in manifest.levels if entry.ensemble]
    if len(last_levels) == 2 and ensemble_levels == [len(manifest.levels)]:
        ensemble_levels = [len(manifest.levels) - 1, *ensemble_levels]  # nodes are scored apart, and only ranked
    if len({(entry.scorer, entry.width) for entry in manifest.levels}) > len(last_levels):
        raise BundleError(folder, MANIFEST, "has one scorer for nodes of different widths", RESTORE)
    if not ensemble_levels == sorted(last_levels.values()) == [last_levels[name] for name in manifest.scorers]:
        raise BundleError(folder, MANIFEST, f"says that the levels {ensemble_levels} make up an item's logits, but its "
                                            f"scorers end at the levels {sorted(last_levels.values())}", RESTORE)
    widths, inner = list(manifest.search.beam_width), len(manifest.levels) - 1
    if len(widths) != inner:
        raise BundleError(folder, MANIFEST, f"has {len(widths)} beam widths, {widths}, but {inner} levels above the "
                                            "items", RESTORE)
    return manifest


def _levels(data: Mapping[str, Any]) -> tuple[LevelEntry, ...]:
    """The levels of a manifest; before version 3 one scorer read nodes of one width at all levels.

    Raises:
        TypeError: there are none, they are not numbered from 1, or a value has the wrong type.
    """
    last = len(data["levels"])
    older = data["format_version"] < 3
    levels = tuple(LevelEntry(**entry, width=data["dims"]["item_embedding"], ensemble=entry["level"] == last) if older
                   else LevelEntry(**entry) for entry in data["levels"])
    for number, entry in enumerate(levels, start=1):
        kinds = [type(value) for value in (entry.level, entry.nodes, entry.scorer, entry.width, entry.ensemble)]
        if entry.level != number or kinds != [int, int, str, int, bool]:
            raise TypeError(f"its level {number} is {entry}")
    if not levels:
        raise TypeError("it has no levels")
    return levels


def hash_of(entries: Mapping[str, Any], *without: str) -> str:
    """First 16 hex digits of the hash of all entries but those named."""
    content = {key: value for key, value in entries.items() if key not in without}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
