"""The adapter finds what is planted in the codes, and adds nothing where there is nothing."""

import numpy as np
import pytest

from index_store.value.calibration import Calibration, Calibrations, sigmoid
from model.speculation.fitting import fit_adapter, fit_speculation
from model.speculation.foundation import model_hash
from model.speculation.ladder import Ladder

AS_THEY_ARE = Calibrations((Calibration.line(1.0, 0.0),))


def planted(n=40_000):
    """A served model whose logits lack 0.8 of the first value; of the rung of the user only a constant is missing."""
    random = np.random.default_rng(0)
    served = random.normal(-1, 1, (n, 1)).astype(np.float32)
    pair, user = random.normal(size=(2, n, 3)).astype(np.float32)
    truth = served[:, 0] + 0.8 * pair[:, 0] + 0.3
    labels = (random.random(n) < sigmoid(truth)).astype(np.int8)[:, None]
    return Ladder(labels, served, served, pair, user), truth


def test_planted_weights_are_found_on_each_rung():
    ladder, _ = planted()
    adapter = fit_adapter(ladder, AS_THEY_ARE)
    assert adapter.weights[0, :, 0] == pytest.approx([0.8, 0, 0], abs=0.05)
    assert adapter.bias[0, 0] == pytest.approx(0.3, abs=0.05)
    assert adapter.weights[1, :, 0] == pytest.approx([0, 0, 0], abs=0.05)
    assert adapter.bias[1, 0] == pytest.approx(0.3, abs=0.1)
    assert adapter.weights.shape == (2, 3, 1)
    assert adapter.weights.dtype == np.float32


@pytest.mark.parametrize("calibration", [
    Calibration.line(0.5, 1.0), Calibration(np.array([-3.0, -1.0, 0.0, 3.0]), np.array([-2.0, -1.0, 0.5, 1.0]))])
def test_what_a_calibration_mends_is_not_mended_twice(calibration):
    ladder, _ = planted()
    random = np.random.default_rng(1)
    log_odds = calibration(ladder.served[:, 0] + 0.8 * ladder.pair[:, 0])
    labels = (random.random(len(log_odds)) < sigmoid(log_odds)).astype(np.int8)[:, None]
    adapter = fit_adapter(Ladder(labels, ladder.served, ladder.served, ladder.pair, ladder.user),
                          Calibrations((calibration,)))
    assert adapter.weights[0, :, 0] == pytest.approx([0.8, 0, 0], abs=0.1)
    assert adapter.bias[0, 0] == pytest.approx(0, abs=0.1)


def test_nothing_is_added_where_all_labels_are_the_same():
    ladder, _ = planted(100)
    ladder.labels[:] = 0
    adapter = fit_adapter(ladder, AS_THEY_ARE)
    assert not adapter.weights.any()
    assert not adapter.bias.any()


def test_nothing_is_added_where_values_say_nothing_of_events_that_they_were_not_fitted_to():
    random = np.random.default_rng(2)
    served = random.normal(-1, 1, (2_000, 1)).astype(np.float32)
    labels = (random.random((2_000, 1)) < sigmoid(served)).astype(np.int8)
    noise = random.normal(size=(2_000, 40)).astype(np.float32)
    adapter = fit_adapter(Ladder(labels, served, served, noise, noise), AS_THEY_ARE)
    assert not adapter.weights.any()


def test_a_fit_names_its_foundation_model_and_has_eight_components(served, foundation):
    fitted = fit_speculation(served, [foundation], Calibrations(AS_THEY_ARE.of_task * 2))
    assert fitted.foundation == model_hash(foundation.model)
    assert fitted.codes.width == 2 + 8
    assert fitted.adapter.weights.shape == (2, 10, 2)
