"""Names and tolerances of a bundle's ONNX graphs, against the bundles of every format version."""

import numpy as np
import onnx
import pytest

from index_store.bundle import graphs, layout
from index_store.bundle.bundle import Bundle
from tests.paths import BUNDLES


def names(folder, file):
    graph = onnx.load(folder / file).graph
    return [node.name for node in graph.input], [node.name for node in graph.output]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_graphs_have_these_names_when_the_bundle_is_of_any_version(version):
    folder = BUNDLES / version
    assert names(folder, layout.USER_TOWER) == ([graphs.USER_INPUT], [graphs.USER_EMBEDDING])
    assert names(folder, layout.ITEM_TOWER) == ([graphs.ITEM_INPUT], [graphs.ITEM_EMBEDDING])
    for scorer in Bundle.open(folder).manifest.scorers:
        assert names(folder, scorer) == (list(graphs.SCORER_INPUTS), [graphs.LOGITS])


def test_inputs_of_a_scorer_are_named_in_their_order():
    user, items, interaction = (np.full(1, number) for number in range(3))
    assert graphs.scorer_inputs(user, items, interaction) == {"user_embedding": 0, "item_embeddings": 1,
                                                              "interaction": 2}


@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 1e-4), (np.float16, 1e-2)])
def test_tolerance_is_wider_when_embeddings_are_halves(dtype, allowed):
    assert graphs.score_tolerance(np.zeros(1, dtype)) == allowed


def test_gaps_of_scores_are_differences_up_to_one_and_shares_beyond():
    gaps = graphs.score_gaps([0.5, -0.5, 101.0, -50.0, np.nan], [0.25, 0.5, 100.0, -100.0, 1.0])
    np.testing.assert_allclose(gaps[:4], [0.25, 1.0, 0.01, 0.5])
    assert np.isnan(gaps[4])
    assert graphs.score_gaps([], []).shape == (0,)
