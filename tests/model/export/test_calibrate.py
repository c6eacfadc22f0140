"""Calibrations: planted ones are found, the better kind is taken, and runs that cannot have one say so."""

from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from index_store.value.calibration import sigmoid
from model.export.calibrate import PICTURE, calibrate, calibrations_of, ece, fit, isotonic, platt, reliability


def events(true_log_odds, n=60_000):
    """Logits, and labels drawn with the probabilities that belong to them."""
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1.5, n).astype(np.float32)
    p = sigmoid(true_log_odds(logits.astype(np.float64)))
    return logits, (random.random(n) < p).astype(np.int8), p


def test_a_planted_line_is_found_and_measured_against_the_truth():
    logits, labels, p = events(lambda x: 0.6 * x - 0.8)
    fitted = fit(logits, labels, p)
    assert fitted.method == "platt"
    assert fitted.calibration(np.array([0.0, 1.0])) == pytest.approx([-0.8, -0.2], abs=0.1)
    measured = fitted.measured
    assert measured["ece_after"] < measured["ece_before"] / 5
    assert measured["true_ece_after"] < measured["ece_after"]
    assert (measured["fitted_on"], measured["measured_on"]) == (30_000, 30_000)
    assert sum(events for _, _, events in measured["reliability_after"]) == 30_000


def test_isotonic_regression_is_taken_where_no_line_fits():
    fitted = fit(*events(lambda x: np.where(x < -2, -5.0 + 0.1 * x, 0.5 * x)))
    assert fitted.method == "isotonic"
    assert fitted.measured["ece_after"] < fitted.measured["ece_before"] / 3


def test_logits_stay_as_they_are_where_nothing_is_better():
    logits, labels, _ = events(lambda x: x)
    assert fit(logits[:400], labels[:400]).method in ("none", "platt")
    same = fit(logits, np.zeros(len(logits), np.int8))
    assert same.method == "none" or same.measured["log_loss"]["isotonic"] < same.measured["log_loss"]["none"]


def test_there_is_no_fit_where_higher_logits_are_rarer_or_labels_are_the_same():
    logits, labels, _ = events(lambda x: -x)
    assert platt(logits, labels) is None
    assert isotonic(logits, labels) is None
    assert platt(logits, np.zeros_like(labels)) is None
    assert fit(logits, labels).method == "none"


def test_isotonic_regression_joins_bins_that_it_makes_equal():
    """Bins without a positive at the lower end, and falling rates in the middle."""
    logits = np.linspace(-4, 4, 20_000, dtype=np.float32)
    labels = (np.arange(20_000) % 100 < np.interp(logits, [-1, 0, 1, 4], [0, 40, 20, 80])).astype(np.int8)
    found = isotonic(logits, labels)
    assert (np.diff(found.log_odds) > 0).all()
    assert len(found.logits) < 100
    assert found(np.array([-6.0])) - found(np.array([-7.0])) == pytest.approx(1.0)
    assert sigmoid(found(np.array([0.5]))) == pytest.approx(0.3, abs=0.03)


def test_expected_error_is_the_mean_distance_of_prediction_and_label():
    p = np.repeat([0.1, 0.6], 500)
    curve = reliability(p, np.concatenate([np.arange(500) % 5 == 0, np.ones(500, bool)]))
    assert ece(curve) == pytest.approx((0.1 + 0.4) / 2)
    assert len(curve) == 20


def test_a_run_is_calibrated_on_its_test_events_and_drawn(impressions_run):
    run, dataset = copy(impressions_run), impressions_run.dataset
    run.dataset = replace(dataset, test=dataset.train.where(np.arange(len(dataset.train)) % 3 == 0))
    fitted = calibrate(run)
    assert list(fitted) == [task.name for task in dataset.spec.tasks]
    assert len(calibrations_of(fitted).of_task) == len(fitted)
    assert (run.folder.path / PICTURE).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("negatives", "test", "said"), [
    ("sampled", [1, 2], "the log holds sampled negatives"), ("impressions", None, "there are no test events")])
def test_a_run_without_probabilities_or_test_events_says_so(negatives, test, said, capsys):
    run = SimpleNamespace(dataset=SimpleNamespace(test=test, spec=SimpleNamespace(negatives=negatives)))
    assert calibrate(run) is None
    assert said in capsys.readouterr().err
