"""Worth: eCPM by plain arithmetic, and ads without bids last."""

import numpy as np
import pytest

from index_store.tree.tree import build_tree
from index_store.value.bids import AdBids, Bid
from index_store.value.valuation import ecpm_of
from tests.index_store.value.valued import plain_ecpm, valuation

TREE = build_tree(np.array([[0], [0], [0], [1]]), np.eye(4, dtype=np.float32))
BIDS = AdBids.of([Bid(1_000, "CPM"), Bid(700_000, "CPC"), Bid(10**12, "CPA"), None])
LOGITS = np.array([[1.0, 2.0], [-3.0, 0.5], [-30.0, -20.0], [5.0, 5.0]], np.float32)


def test_ecpm_is_the_expected_payment_for_a_thousand_impressions():
    worth = valuation(TREE, BIDS).of_items(np.arange(4), LOGITS, LOGITS[:, 0])
    assert worth[:3].tolist() == pytest.approx(
        [plain_ecpm(logits, micros, number) for logits, micros, number in zip(LOGITS, *BIDS.whole, strict=True)][:3])
    assert worth[3] < 0 < worth[:3].min()
    assert ecpm_of(worth)[3] == 0


def test_ads_without_bids_are_ordered_by_score():
    scores = np.array([-50.0, 3.0, -2.0, 40.0], np.float32)
    worth = valuation(TREE, None).of_items(np.arange(4), LOGITS, scores)
    assert np.argsort(worth).tolist() == np.argsort(scores).tolist()
    assert (worth <= 0).all()


def test_a_node_promises_the_best_of_its_bids_for_labels_at_its_own_probabilities():
    logits = np.array([[0.5, 1.0], [2.0, 2.0]], np.float32)
    worth = valuation(TREE, BIDS).of_nodes(1, np.array([0, 1]), logits, logits[:, 0])
    assert worth[0] == pytest.approx(max(plain_ecpm(logits[0], micros, number) for micros, number in
                                         zip(*BIDS.whole, strict=True) if micros and number))
    assert worth[1] < 0


def test_scores_are_needed_where_a_bid_pays_for_a_label():
    assert valuation(TREE, BIDS).needs_scores
    assert not valuation(TREE, AdBids.of([Bid(1_000, "CPM"), None, None, Bid(5, "CPM")])).needs_scores
    assert not valuation(TREE, None).needs_scores
