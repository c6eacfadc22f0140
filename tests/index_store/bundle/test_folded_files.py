"""The folded scorers of a bundle: written and read back, missing, and refused where they do not fit."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.bundle.folded_files import kernel_of, read_folded, read_kernels, write_folded
from index_store.bundle.manifest import BundleError
from index_store.compiled.library import Library
from tests.index_store.kernel.plain_scorer import compiled, plain_logits, random_inputs, random_weights
from tests.resealed import reseal

NOTHING = Library(None, 0, "none here")


def fitting(files, **changes):
    """Weights whose features, widths and tasks are those of the tiny bundle's manifest."""
    manifest = files.manifest
    return random_weights(np.random.default_rng(0), **{
        "dim": 2, "user_tokens": 2, "item_tokens": 2, "tokens": 2, "features": manifest.dims["interaction"],
        "tasks": len(manifest.tasks), **changes})


def test_what_is_written_is_read_back_and_scores(tiny_bundle, tmp_path):
    weights = fitting(BundleFiles(tiny_bundle, verify=False))
    reseal(tiny_bundle, tmp_path / "b", lambda writer: write_folded(writer, 1, weights))
    opened = Bundle.open(tmp_path / "b")
    found = read_folded(opened.files, 1)
    for name, values in weights.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], values)
    user, items, features = random_inputs(np.random.default_rng(1), weights, 50)
    [kernel] = read_kernels(opened.files, compiled())
    np.testing.assert_allclose(kernel(user, items, features), plain_logits(weights, user[0], items, features),
                               rtol=1e-5, atol=1e-4)
    assert read_kernels(opened.files, NOTHING) == [None]


def test_a_bundle_without_arrays_has_no_kernels(stacked_bundle):
    files = BundleFiles(stacked_bundle, verify=False)
    assert read_folded(files, 1) is None
    assert read_kernels(files, compiled()) == [None, None]
    assert kernel_of(None, compiled()) is None


@pytest.mark.parametrize(("changes", "said"), [
    ({"features": 9}, "belongs to a scorer of"), ({"item_tokens": 3}, "belongs to a scorer of"),
    ({"tasks": 3}, "belongs to a scorer of"), ({"user_from": 1}, "that reads 9 numbers of the user")])
def test_weights_of_another_bundle_are_refused(tiny_bundle, tmp_path, changes, said):
    weights = fitting(BundleFiles(tiny_bundle, verify=False), **changes)
    reseal(tiny_bundle, tmp_path / "b", lambda writer: write_folded(writer, 1, weights))
    with pytest.raises(BundleError, match=said):
        read_folded(BundleFiles(tmp_path / "b", verify=False), 1)


@pytest.mark.parametrize(("name", "values", "said"), [
    ("mix", np.zeros(2), "has dtype float64"), ("mix", np.zeros((2, 1), np.float32), "expected"),
    ("mix", np.zeros(3, np.float32), "mix has shape"), ("other", np.zeros((2, 2), np.float32), "are not the arrays")])
def test_arrays_that_are_no_scorer_are_refused(tiny_bundle, tmp_path, name, values, said):
    def change(writer):
        write_folded(writer, 1, fitting(BundleFiles(tiny_bundle, verify=False)))
        writer.array(layout.folded(1, name), values)

    reseal(tiny_bundle, tmp_path / "b", change)
    with pytest.raises(BundleError, match=said):
        read_folded(BundleFiles(tmp_path / "b", verify=False), 1)
