"""Bids, track records and calibrations of a bundle: read as they were written, and refused if they cannot be."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.tiny_bundle import CALIBRATIONS, planted_bids, planted_records


def test_bids_and_calibrations_are_read_as_they_were_written(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    assert [values.tolist() for values in content.bids.whole] == [
        values.tolist() for values in planted_bids(300).whole]
    assert [one.to_json() for one in content.calibrations.of_task] == [
        one.to_json() for one in CALIBRATIONS.of_task]
    assert content.records.tolist() == planted_records(300).tolist()


def test_older_bundles_have_none():
    content = Bundle.open(BUNDLES / "v5").content
    assert (content.bids, content.calibrations, content.records) == (None, None, None)
    assert content.encoder.spec.paid == {"CPM": None}


@pytest.mark.parametrize(("change", "said"), [
    (lambda writer: writer.array(layout.BID_MICROS, np.full(300, -1)), "bids/micros.npy: has bids from -1 to -1"),
    (lambda writer: writer.array(layout.BID_MICROS, np.ones(3, np.int64)), "bids/micros.npy: has shape"),
    (lambda writer: writer.array(layout.BID_TYPES, np.full(300, 7, np.uint8)), r"bids/types.npy: has the types \[7\]"),
    (lambda writer: writer.array(layout.RECORDS, np.ones((300, 3), np.uint16)), "items/records.npy: has shape"),
    (lambda writer: writer.json(layout.CALIBRATION, {"click": {"logits": [0, 1], "log_odds": [0, 1]}}),
     "calibration.json: does not hold a calibration of each task"),
    (lambda writer: writer.json(layout.CALIBRATION, {task: {"logits": [1, 0], "log_odds": [0, 1]}
                                                     for task in ("click", "convert")}),
     "calibration.json: does not hold .* knots that rise")])
def test_bundle_is_refused_when_they_do_not_fit(tiny_bundle, tmp_path, change, said):
    reseal(tiny_bundle, tmp_path / "bundle", change)
    with pytest.raises(BundleError, match=said):
        Bundle.open(tmp_path / "bundle")
