"""Calibrations: lines through knots, beyond their ends too, and never a tie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.value.calibration import Calibration, Calibrations, sigmoid


def test_a_line_is_one_everywhere():
    logits = np.array([-40.0, -1.0, 0.0, 0.5, 3.0, 40.0])
    np.testing.assert_allclose(Calibration.line(0.5, -2.0)(logits), 0.5 * logits - 2.0, atol=1e-12)


def test_knots_are_joined_and_the_ends_go_on_as_they_are():
    calibration = Calibration(np.array([-1.0, 0.0, 2.0]), np.array([-5.0, -1.0, 0.0]))
    np.testing.assert_allclose(calibration(np.array([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0, 4.0])),
                               [-9.0, -5.0, -3.0, -1.0, -0.5, 0.0, 1.0], atol=1e-12)
    again = Calibration.from_json(calibration.to_json())
    assert (again.logits.tolist(), again.log_odds.tolist()) == ([-1.0, 0.0, 2.0], [-5.0, -1.0, 0.0])


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8), st.lists(st.integers(1, 50), min_size=8, max_size=8))
def test_higher_logits_get_higher_odds(right, up):
    calibration = Calibration(np.cumsum(right) / 10, np.cumsum(up[:len(right)]) / 10)
    assert (np.diff(calibration(np.linspace(-5, 50, 500))) > 0).all()


@pytest.mark.parametrize(("logits", "log_odds"), [([0.0], [0.0]), ([0.0, 0.0], [0.0, 1.0]), ([0.0, 1.0], [1.0, 1.0]),
                                                  ([0.0, 1.0], [0.0, np.inf]), ([0.0, np.nan], [0.0, 1.0])])
def test_knots_that_do_not_rise_are_refused(logits, log_odds):
    with pytest.raises(ValueError, match="knots that rise"):
        Calibration(np.array(logits), np.array(log_odds))


def test_the_slope_is_the_derivative_between_knots_and_beyond_them():
    calibration = Calibration(np.array([-1.0, 0.0, 2.0]), np.array([-3.0, -1.0, 0.0]))
    at = np.array([[-9.0, -0.5], [1.0, 7.0]])
    numeric = (calibration(at + 1e-6) - calibration(at - 1e-6)) / 2e-6
    np.testing.assert_allclose(calibration.slope(at), numeric, atol=1e-6)
    assert Calibration.line(3.0, 1.0).slope(at).tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_each_task_has_its_own_and_rare_events_stay_exact():
    both = Calibrations((Calibration.line(1.0, 0.0), Calibration.line(2.0, -1.0)))
    logits = np.array([[-50.0, 1.0], [0.0, 0.0]], np.float32)
    found = both.probabilities(logits)
    np.testing.assert_allclose(found, [[np.exp(-50.0), sigmoid(np.array(1.0))], [0.5, sigmoid(np.array(-1.0))]],
                               rtol=1e-6)
    assert both.probability(1, logits).tolist() == found[:, 1].tolist()
    assert sigmoid(np.array([-1e9, 1e9])).tolist() == pytest.approx([0.0, 1.0])
