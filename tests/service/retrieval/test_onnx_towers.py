"""The ONNX sessions of a bundle: the planted linear towers, and graphs that do not fit."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.bundle.folded_files import write_folded
from index_store.bundle.manifest import BundleError
from index_store.kernel.pair_kernel import PairKernel
from service.retrieval.onnx_towers import DenseRun, OnnxTowers
from tests.index_store.kernel.plain_scorer import compiled, random_weights
from tests.resealed import reseal


def weights(folder, name):
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(folder / name).graph.initializer}


def test_outputs_are_those_of_plain_numpy_when_graphs_are_linear(tiny_bundle):
    towers, random = OnnxTowers(Bundle.open(tiny_bundle), DenseRun()), np.random.default_rng(0)
    tower = weights(tiny_bundle, "user_tower.onnx")["weights"]
    users = random.normal(size=(3, len(tower))).astype(np.float32)
    embeddings = towers.user_tower(users)
    np.testing.assert_allclose(embeddings, users @ tower, rtol=1e-5, atol=1e-6)
    scorer = weights(tiny_bundle, "scorer_1.onnx")
    items = random.normal(size=(5, 8)).astype(np.float32)
    interaction = random.normal(size=(5, len(scorer["interaction_weights"]))).astype(np.float32)
    expected = (items @ embeddings[:1].T) @ scorer["dot"] + interaction @ scorer["interaction_weights"] + scorer["bias"]
    np.testing.assert_allclose(towers.layers[0](embeddings[:1], items, interaction), expected, rtol=1e-4, atol=1e-4)
    assert len(towers.layers) == 1


@pytest.mark.parametrize(("change", "said"), [
    (lambda writer: writer.path("user_tower.onnx").write_bytes(b"not a graph"), "is not a graph that ONNX Runtime"),
    (lambda writer: writer.path("user_tower.onnx").write_bytes(writer.path("item_tower.onnx").read_bytes()),
     "has the inputs")])
def test_bundle_is_refused_when_a_graph_does_not_fit(tiny_bundle, tmp_path, change, said):
    reseal(tiny_bundle, tmp_path / "bad", change)
    with pytest.raises(BundleError, match=said) as caught:
        OnnxTowers(Bundle.open(tmp_path / "bad"), DenseRun())
    assert caught.value.file == "user_tower.onnx"


def test_scorers_are_kernels_where_the_bundle_has_their_arrays_unless_the_settings_forbid(tiny_bundle, tmp_path):
    weights = random_weights(np.random.default_rng(0), dim=2, user_tokens=2, item_tokens=2, tokens=2,
                             features=BundleFiles(tiny_bundle, verify=False).manifest.dims["interaction"])
    reseal(tiny_bundle, tmp_path / "folded", lambda writer: write_folded(writer, 1, weights))
    opened = Bundle.open(tmp_path / "folded")
    towers = OnnxTowers(opened, DenseRun())
    assert isinstance(towers.layers[0], PairKernel)
    assert towers.runs == compiled().note
    by_setting = OnnxTowers(opened, DenseRun("onnx"))
    assert not isinstance(by_setting.layers[0], PairKernel)
    assert by_setting.runs == "ONNX Runtime: RETRIEVAL_KERNEL says so"
    assert OnnxTowers(Bundle.open(tiny_bundle), DenseRun()).runs.startswith("ONNX Runtime: the bundle has no arrays")
