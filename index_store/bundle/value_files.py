"""Files of value: bids and track records of a bundle's ads and the calibration of its tasks, checked before use.

A bundle whose ads have no bids has no `bids/`, one whose tasks were not calibrated no `calibration.json`, and an old
one no `items/records.npy`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.declaration.spec import FeatureSpec
from index_store.value.bids import BID_TYPES, MOST_MICROS, NO_BID, AdBids
from index_store.value.calibration import Calibration, Calibrations


def write_bids(writer: BundleWriter, bids: AdBids) -> None:
    """Writes the bids by position."""
    writer.array(layout.BID_MICROS, bids.micros)
    writer.array(layout.BID_TYPES, bids.types)


def read_bids(files: BundleFiles, spec: FeatureSpec) -> AdBids | None:
    """The bids of a bundle's ads, by position; None if it has none.

    Raises:
        BundleError: a file is missing, or has a bid that there cannot be.
    """
    if layout.BID_MICROS not in files.manifest.files:
        return None
    n_items = files.manifest.counts["items"]
    micros = files.array(layout.BID_MICROS, np.int64, (n_items,))
    types = files.array(layout.BID_TYPES, np.uint8, (n_items,))
    if micros.min() < NO_BID or micros.max() > MOST_MICROS:
        raise files.error(layout.BID_MICROS, f"has bids from {micros.min()} to {micros.max()}, they must lie in "
                                             f"{NO_BID}..{MOST_MICROS}")
    paid = [number for number, kind in enumerate(BID_TYPES) if kind in spec.paid]
    found = np.unique(types[micros != NO_BID]).tolist()
    if not set(found) <= set(paid):
        raise files.error(layout.BID_TYPES, f"has the types {found}, {layout.FEATURES} pays for {paid}")
    return AdBids(micros, types)


def write_calibrations(writer: BundleWriter, spec: FeatureSpec, calibrations: Calibrations) -> None:
    """Writes one calibration a task."""
    writer.json(layout.CALIBRATION, {task.name: calibration.to_json()
                                     for task, calibration in zip(spec.tasks, calibrations.of_task, strict=True)})


def read_calibrations(files: BundleFiles, spec: FeatureSpec) -> Calibrations | None:
    """The calibrations of a bundle's tasks; None if they were not calibrated.

    Raises:
        BundleError: one is missing or malformed.
    """
    if layout.CALIBRATION not in files.manifest.files:
        return None
    read = files.json(layout.CALIBRATION)
    try:
        return Calibrations(tuple(Calibration.from_json(read[task.name]) for task in spec.tasks))
    except (KeyError, TypeError, ValueError) as error:
        raise files.error(layout.CALIBRATION, f"does not hold a calibration of each task ({error!r})") from error


def read_records(files: BundleFiles) -> NDArray[np.integer] | None:
    """Impressions and clicks (n_items, 2) of a bundle's ads, by position; None if it does not hold them."""
    if layout.RECORDS not in files.manifest.files:
        return None
    return files.array(layout.RECORDS, np.uint16, (files.manifest.counts["items"], 2))
