"""Reports of an epoch: recent losses, whole epochs, and entropies that are undefined."""

import numpy as np

from model.training.report import REPORT_BATCHES, EpochReport


def test_reports_hold_the_mean_of_each_part_of_the_loss_and_the_entropy_of_each_task():
    entries = []
    report = EpochReport(2, ["click", "buy"], entries.append)
    report.losses += [{"items": 9.0}] * 10 + [{"items": 1.0, "nodes": 5.0}] * REPORT_BATCHES
    assert report.recent(59, {}) == {"epoch": "3", "batch": "59", "loss_items": "1", "loss_nodes": "5"}
    report.entropy.add(np.zeros((2, 2), np.float32), np.array([[1, 1], [0, 1]], np.float32))
    text = report.whole(60, {"seconds": 1.23456})
    assert text == {"epoch": "3", "batch": "60", "loss_items": "2.333", "loss_nodes": "5", "seconds": "1.235",
                    "ne_click": "1", "ne_buy": "undefined"}
    assert entries[0] == {"epoch": 3, "batch": 59, "loss_items": 1.0, "loss_nodes": 5.0}
    assert entries[1]["ne_buy"] is None


def test_an_epoch_without_batches_reports_no_loss():
    entries = []
    EpochReport(0, ["click"], entries.append).whole(0, {})
    assert entries == [{"epoch": 1, "batch": 0}]
