"""Pairs: of what the beam proposes, with what the foundation model says; what does not fit together is refused."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from service.contract.query import Query, SearchOptions
from service.retrieval.retriever import Retriever
from service.settings import Settings
from service.speculation.pair_maker import PairMaker
from tests.speculated_bundles import write_foundation
from tests.tiny_bundle import write_tiny_bundle

CLICK = np.array([1, 0], np.float32)


def test_pairs_are_those_that_the_beam_finds_with_the_distance_of_both_models(maker, speculated):
    opened = Bundle.open(speculated)
    retriever, query = Retriever(opened), Query(user_id=b"user-03", top_k=20, task_weights=CLICK)
    found = retriever.search(retriever.encode(query), SearchOptions(
        top_k=20, beam_width=opened.manifest.search.beam_width, exact=False, task_weights=CLICK,
        excluded=np.empty(0, np.int64)))
    made = maker.made(b"user-03")
    positions = opened.content.tree.position_of_row[found.rows]
    assert made.positions.tolist() == sorted(positions.tolist())
    logits, _ = maker.foundation.outputs(query, found.rows)
    expected = np.clip(np.rint((logits - found.logits) / 0.1), -127, 127)[np.argsort(positions)]
    assert np.abs(made.codes[:, :2] - expected).max() <= 1
    assert made.lives == 3600
    retriever.close()


def test_unknown_users_have_no_pairs(maker):
    assert maker.made(b"nobody") is None


def test_an_autoencoder_of_another_model_is_refused_with_both_hashes(speculated, tiny_bundle, tmp_path):
    write_foundation(tiny_bundle, tmp_path / "other", "beef")
    with pytest.raises(BundleError, match=r"autoencoder of foundation model f0f0, but .*other is foundation .* beef"):
        PairMaker.open(speculated, [tmp_path / "other"], Settings(), 20, 3600)


def test_a_bundle_without_speculation_or_with_other_ads_is_refused(speculated, tiny_bundle, foundation, tmp_path):
    with pytest.raises(BundleError, match="uses no stored pairs; export its run again with --foundation"):
        PairMaker.open(tiny_bundle, [foundation], Settings(), 20, 3600)
    write_tiny_bundle(tmp_path / "small", n_items=120)
    write_foundation(tmp_path / "small", tmp_path / "other")
    with pytest.raises(BundleError, match="has 120 ads that are not the 300 of"):
        PairMaker.open(speculated, [tmp_path / "other"], Settings(), 20, 3600)
