"""Similar users of a bundle: read as they were written, and refused if they do not fit."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from tests.resealed import reseal
from tests.tiny_bundle import planted_world


def test_similar_users_are_read_as_they_were_written(tiny_bundle):
    found, written = Bundle.open(tiny_bundle).content.index.similar, planted_world()[0].index.similar
    for name in ("items", "clickers"):
        np.testing.assert_array_equal(getattr(found, name).indptr, getattr(written, name).indptr)
        np.testing.assert_array_equal(getattr(found, name).values, getattr(written, name).values)
    np.testing.assert_array_equal(found.weights, written.weights)
    np.testing.assert_array_equal(found.lengths, written.lengths)


@pytest.mark.parametrize(("name", "rows"), [(layout.SIMILAR_WEIGHTS, 301), (layout.SIMILAR_LENGTHS, 40)])
def test_bundle_is_refused_when_they_do_not_fit(tiny_bundle, tmp_path, name, rows):
    reseal(tiny_bundle, tmp_path / "bundle", lambda writer: writer.array(name, np.zeros(rows - 1, np.float32)))
    with pytest.raises(BundleError, match=rf"{name}: has shape \({rows - 1},\), expected \({rows},\)"):
        Bundle.open(tmp_path / "bundle")
