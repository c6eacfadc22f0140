"""Bundles that are sealed in order but hold something else: what a faulty exporter would hand over."""

import shutil
from collections.abc import Callable
from pathlib import Path

from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.manifest import MANIFEST, Manifest


def reseal(source: Path, target: Path, change: Callable[[BundleWriter], None], **entries: object) -> Manifest:
    """Copies a bundle, lets `change` rewrite files of the copy, and seals it with fresh checksums.

    Args:
        entries: fields of the manifest to replace.
    """
    manifest = BundleFiles(source, verify=False).manifest
    writer = BundleWriter(target)
    for file in source.rglob("*"):
        if file.is_file() and file.name != MANIFEST:
            shutil.copy(file, writer.path(str(file.relative_to(source))))
    change(writer)
    kept = {name: getattr(manifest, name)
            for name in ("dims", "tasks", "calibrated", "levels", "counts", "search")}
    return writer.seal(**{**kept, **entries})
