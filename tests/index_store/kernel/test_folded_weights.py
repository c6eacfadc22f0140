"""The arrays of a folded scorer: by name and back, and sets of arrays that are none."""

import numpy as np
import pytest

from index_store.kernel.folded_weights import FoldedWeights, ShapeError, axes
from tests.index_store.kernel.plain_scorer import random_weights


@pytest.mark.parametrize("hidden", [(), (7,), (7, 9)])
def test_arrays_by_name_make_the_same_weights(hidden):
    weights = random_weights(np.random.default_rng(0), hidden=hidden, user_from=5)
    arrays = weights.arrays()
    assert all(values.ndim == axes(name) for name, values in arrays.items())
    again = FoldedWeights.of_arrays(arrays)
    assert again.arrays().keys() == arrays.keys()
    for name, values in again.arrays().items():
        np.testing.assert_array_equal(values, arrays[name])
    assert (again.features, again.item_width, again.user) == (24, 8 * 16, slice(5, 5 + 8 * 16))


@pytest.mark.parametrize(("name", "change", "said"), [
    ("mix", lambda mix: mix[1:], r"mix has shape \(3,\), expected \(4,\)"),
    ("hidden_0_bias", lambda bias: bias[1:], "hidden_0_bias"),
    ("products", lambda matrix: matrix[1:], r"products has shape \(24, 64\), expected \(25, 64\)"),
    ("head", lambda head: head[0], "another number of axes"),
    ("fm", lambda matrix: matrix[:, 1:], "31 outputs of the factorisation machine"),
    ("shape", lambda shape: shape[:2], "shape has shape"),
    ("shape", lambda shape: -shape, "are no scorer"),
    ("direct", None, "are not the arrays of a folded scorer")])
def test_arrays_that_do_not_fit_are_refused(name, change, said):
    arrays = random_weights(np.random.default_rng(0)).arrays()
    values = arrays.pop(name)
    with pytest.raises(ShapeError, match=said):
        FoldedWeights.of_arrays(arrays if change is None else {**arrays, name: change(values)})
