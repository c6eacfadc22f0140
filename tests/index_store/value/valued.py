"""Random bids over a tree, and their worth by plain arithmetic."""

import math

import numpy as np

from index_store.value.bids import BID_TYPES, AdBids
from index_store.value.calibration import Calibration, Calibrations
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import Valuation

PAID = {"CPM": None, "CPC": 0, "CPA": 1}
CALIBRATIONS = Calibrations((Calibration.line(0.5, -1.0), Calibration.line(2.0, -3.0)))


def random_bids(n, random):
    """Bids of a few amounts, so that many tie; a third of the ads have none."""
    return AdBids(random.choice([0, 0, 1, 1_000, 700_000, 900_000], n), random.integers(0, 3, n).astype(np.uint8))


def valuation(tree, bids):
    return Valuation(CALIBRATIONS, PAID, LiveBids.sealed(tree, bids))


def plain_ecpm(logits, micros, number):
    """The eCPM of one ad by its two logits."""
    click, convert = (1 / (1 + math.exp(-(slope * float(logit) + intercept))) for logit, slope, intercept in
                      zip(logits, (0.5, 2.0), (-1.0, -3.0), strict=True))
    return float(micros) * {"CPM": 1, "CPC": 1000 * click, "CPA": 1000 * convert}[BID_TYPES[number]]
