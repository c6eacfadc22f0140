"""Bundles by their names in the folder of bundles, and how calls about them are refused."""

from __future__ import annotations

from pathlib import Path

from index_store.bundle import pointer
from index_store.bundle.files import BundleFiles
from index_store.bundle.pointer import BundleNameError
from service.bundles.control_channel import Refusal, Release
from service.contract.errors import ErrorType


class RefusedError(Exception):
    """An admin call is refused."""

    def __init__(self, error_type: ErrorType, message: str, remedy: str, details: str = "") -> None:
        super().__init__(message)
        self.refusal = Refusal(error_type, message, remedy, details)


def release_of(folder: Path) -> Release:
    """Reads the manifest and the sizes of the files, not their content.

    Raises:
        BundleError: it is broken.
    """
    return Release(folder.name, folder, BundleFiles(folder, verify=False).manifest.bundle_id)


def named(store: Path, name: str) -> Release:
    """The bundle of a name beside the pointer.

    Raises:
        RefusedError: the name is no name of a bundle, or of none that is there.
        BundleError: it is broken.
    """
    try:
        folder = store / pointer.check_name(name)
    except BundleNameError as error:
        raise RefusedError(ErrorType.INVALID_VALUE, str(error), "send the name of a bundle's folder") from error
    if not folder.is_dir():
        raise RefusedError(ErrorType.UNKNOWN_BUNDLE, f"there is no bundle {name} beside the pointer",
                           f"name one of {', '.join(pointer.bundle_names(store)[-8:])}")
    return release_of(folder)
