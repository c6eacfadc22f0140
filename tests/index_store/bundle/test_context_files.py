"""Context of a bundle: read as it was written, absent from older bundles, and refused if it does not fit."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.tiny_bundle import in_context, planted_world


def test_context_is_read_as_it_was_written(context_bundle):
    found, written = Bundle.open(context_bundle).content, in_context(planted_world()[0])
    for name in ("hour", "position"):
        assert (found.encoder.vocabularies[f"context.{name}"].tolist()
                == written.encoder.vocabularies[f"context.{name}"].tolist())
    np.testing.assert_array_equal(found.context.embeddings[0], written.context.embeddings[0])
    assert found.context.embeddings[1] is None
    for one, other in zip(found.context.shifts, written.context.shifts, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.context.fixed.tolist() == written.context.fixed.tolist()


def test_bundles_of_models_that_read_none_have_none(tiny_bundle):
    for folder in (tiny_bundle, BUNDLES / "v6"):
        opened = Bundle.open(folder)
        assert opened.content.context is None
        assert not [name for name in opened.manifest.files if name.startswith("context/")]


@pytest.mark.parametrize(("change", "said"), [
    (lambda writer: writer.array(layout.context_array("embeddings", "hour"), np.zeros((3, 5), np.float32)),
     "context/embeddings.hour.npy: has shape"),
    (lambda writer: writer.array(layout.context_array("shifts", "position"), np.zeros((3, 2), np.float32)),
     "context/shifts.position.npy: has shape"),
    (lambda writer: writer.path(layout.context_array("shifts", "hour")).unlink(), "context/shifts.hour.npy"),
    (lambda writer: writer.array(layout.vocabulary("context.position"), np.array([b"2", b"3", b"4"])),
     "vocabulary.context.position.npy: lacks '1', which features.json says to serve as")])
def test_bundle_is_refused_when_context_does_not_fit(context_bundle, tmp_path, change, said):
    reseal(context_bundle, tmp_path / "bundle", change)
    with pytest.raises(BundleError, match=said):
        Bundle.open(tmp_path / "bundle")
