"""Autoencoder and adapter in a bundle: read as they were written, absent from others, refused if they do not fit."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from tests.resealed import reseal
from tests.speculated_bundles import MODEL, planted_speculation, write_speculated


@pytest.fixture(scope="module")
def speculated(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speculated") / "bundle"
    write_speculated(tiny_bundle, folder)
    return folder


def test_speculation_is_read_as_it_was_written(speculated, tiny_bundle):
    found, written = Bundle.open(speculated).content.speculation, planted_speculation()
    assert found.foundation == MODEL
    for name in ("mean", "axes", "steps"):
        np.testing.assert_array_equal(getattr(found.codes, name), getattr(written.codes, name))
    np.testing.assert_array_equal(found.adapter.weights, written.adapter.weights)
    np.testing.assert_array_equal(found.adapter.bias, written.adapter.bias)
    assert Bundle.open(tiny_bundle).content.speculation is None


@pytest.mark.parametrize(("change", "said"), [
    (lambda writer: writer.json(layout.SPECULATION, {"foundation": 7}), "should have the hash of a foundation model"),
    (lambda writer: writer.array(layout.speculation("axes"), np.zeros((5, 3), np.float32)), "axes.npy: has shape"),
    (lambda writer: writer.array(layout.speculation("steps"), np.zeros(5, np.float32)), "has a step of 0.0"),
    (lambda writer: writer.array(layout.speculation("axes"), np.full((8, 3), np.nan, np.float32)), "are not finite"),
    (lambda writer: writer.array(layout.speculation("weights"), np.zeros((1, 5, 2), np.float32)), "weights.npy: has"),
    (lambda writer: writer.path(layout.speculation("bias")).unlink(), "bias.npy")])
def test_bundle_is_refused_when_speculation_does_not_fit(speculated, tmp_path, change, said):
    reseal(speculated, tmp_path / "bundle", change)
    with pytest.raises(BundleError, match=said):
        Bundle.open(tmp_path / "bundle")
