"""A foundation model: its graph is asked, several are averaged, and other bundles are refused."""

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from service.contract.query import Query
from service.retrieval.onnx_towers import COMPILED
from service.retrieval.retriever import Retriever
from service.speculation.foundation_model import FoundationModel, Member
from tests.resealed import reseal
from tests.speculated_bundles import MODEL
from tests.tiny_bundle import DIM

QUERY = Query(user_id=b"user-03", top_k=1, task_weights=np.array([1, 0], np.float32))
ROWS = np.array([7, 0, 299])


def test_outputs_are_those_of_the_graph(foundation):
    opened = Bundle.open(foundation)
    member, retriever = Member(opened, COMPILED), Retriever(opened)
    logits, embeddings = member.outputs(QUERY, ROWS)
    items = opened.content.embeddings[-1][opened.content.tree.position_of_row[ROWS]]
    user = retriever.query(retriever.encode(QUERY)).embedding
    np.testing.assert_allclose(logits, items @ user.T + [1, 2], rtol=1e-4)
    np.testing.assert_array_equal(embeddings, items)
    assert member.model == MODEL
    member.close()
    retriever.close()


def test_several_runs_are_averaged_and_their_embeddings_joined(foundation):
    members = [Member(Bundle.open(foundation), COMPILED) for _ in range(2)]
    both = FoundationModel(members)
    logits, embeddings = both.outputs(QUERY, ROWS)
    np.testing.assert_allclose(logits, members[0].outputs(QUERY, ROWS)[0], rtol=1e-6)
    assert embeddings.shape == (3, 2 * DIM)
    assert both.model == f"{MODEL}+{MODEL}"
    both.close()


def test_a_bundle_that_is_no_foundation_model_is_refused(tiny_bundle, foundation, tmp_path):
    with pytest.raises(BundleError, match="not a foundation model; export its run again with --as-foundation"):
        Member(Bundle.open(tiny_bundle), COMPILED)
    reseal(foundation, tmp_path / "bundle", lambda writer: writer.json(layout.FOUNDATION, {"model": MODEL}))
    with pytest.raises(BundleError, match="does not hold the hash and width"):
        Member(Bundle.open(tmp_path / "bundle"), COMPILED)
    reseal(foundation, tmp_path / "wider", lambda writer: writer.json(layout.FOUNDATION, {"model": "a", "width": 9}))
    with pytest.raises(BundleError, match="float32 matrices of width"):
        Member(Bundle.open(tmp_path / "wider"), COMPILED)
