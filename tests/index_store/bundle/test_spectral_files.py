"""Spectral towers of a bundle: read as they were written, in older formats too, and refused if they do not fit."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.tiny_bundle import DIRECTIONS


def test_vectors_have_all_directions_at_every_level(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    for vectors in (*content.spectral, content.index.spectral.items):
        assert vectors.directions == DIRECTIONS
        assert vectors.tail.shape == (len(vectors), 1)
    np.testing.assert_array_equal(content.index.spectral.weights, 1)


def test_weights_of_older_bundles_are_those_of_the_vectors():
    """They were stored times the steps; in these bundles all are 1."""
    for version in ("v5", "v7"):
        towers = Bundle.open(BUNDLES / version).content.index.spectral
        np.testing.assert_allclose(towers.weights, 1)
        assert towers.items.directions == len(towers.strengths)
        assert towers.items.tail.shape[1] == 0


@pytest.mark.parametrize(("kind", "array", "said"), [
    ("tail", np.zeros((300, 2), np.uint8), r"spectral/values_3.npy: has shape .* expected \(300, 254\)"),
    ("tail", np.zeros((299, 1), np.uint8), "spectral/tail_3.npy: has shape"),
    ("tail_steps", np.zeros(299, np.float32), "spectral/tail_steps_3.npy: has shape"),
    ("values", np.zeros((300, 256), np.uint8), "spectral/values_3.npy: has dtype uint8")])
def test_bundle_is_refused_when_they_do_not_fit(tiny_bundle, tmp_path, kind, array, said):
    reseal(tiny_bundle, tmp_path / "bundle", lambda writer: writer.array(layout.spectral(kind, 3), array))
    with pytest.raises(BundleError, match=said):
        Bundle.open(tmp_path / "bundle")
