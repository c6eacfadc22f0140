"""Tuning a beam on users whose answer is planted: it finds the beam that the tree allows."""

from dataclasses import replace

import numpy as np

from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import build_tree
from index_store.value.bids import AdBids
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import Valuation
from model.export.beam_tuning import TOP_K, ScoredUser, beam_curve
from tests.index_store.value.valued import CALIBRATIONS, PAID


def planted(tree, rng):
    """A user whose best ads lie under four coarse nodes, one in a leaf; nodes are scored by the best of theirs."""
    under = np.isin(tree.node_of_position(1), rng.permutation(tree.size(1))[:4])
    leaves = rng.permutation(np.unique(tree.node_of_position(2)[under]))[:TOP_K]
    best = tree.offsets[1][leaves]
    scores = rng.random(tree.n_items).astype(np.float32)
    scores[best] += 2
    nodes = [np.maximum.reduceat(scores, offsets[:-1]) for offsets in tree.offsets]
    return ScoredUser(nodes, nodes, np.sort(best), Eligible.of(tree.n_items))


def test_a_beam_costs_little_more_than_the_tree_makes_it_cost(at_most=1.3):
    """Leaves of two ads: half of the leaves that the answer lies in hold TOP_K ads, and fewer gain nothing."""
    codes = np.stack([np.arange(4096) // 64, np.arange(4096) // 2 % 32], axis=1)
    tree, rng = build_tree(codes, np.zeros((4096, 1), np.float32)), np.random.default_rng(0)
    points = beam_curve(tree, [planted(tree, rng) for _ in range(12)])
    cheapest = next(point.pairs for point in points if point.overlap >= 0.95)
    assert cheapest <= at_most * (tree.size(1) + 4 * 32 + 2 * TOP_K)


def test_users_who_did_not_choose_a_beam_measure_it():
    """Of three users the nodes of all but the first are scored the wrong way round: a beam misses their answers."""
    codes = np.stack([np.arange(4096) // 64, np.arange(4096) // 2 % 32], axis=1)
    tree, rng = build_tree(codes, np.zeros((4096, 1), np.float32)), np.random.default_rng(0)
    first, *others = (planted(tree, rng) for _ in range(3))
    wrong = [replace(user, scores=[-scores for scores in user.scores]) for user in others]
    assert max(point.overlap for point in beam_curve(tree, [first, *others])) > 0.99
    assert max(point.overlap for point in beam_curve(tree, [first, *wrong])) < 0.2


def test_a_beam_by_ecpm_is_measured_with_its_bids():
    """Of 2,048 leaves of two ads that score alike, one in 16 has bids: a beam by eCPM needs no other."""
    codes = np.stack([np.arange(4096) // 64, np.arange(4096) // 2 % 32], axis=1)
    tree, rng = build_tree(codes, np.zeros((4096, 1), np.float32)), np.random.default_rng(0)
    bidding = np.isin(tree.node_of_position(2), rng.permutation(tree.size(2))[:128])
    valuation = Valuation(CALIBRATIONS, PAID, LiveBids.sealed(
        tree, AdBids(bidding * rng.integers(1, 10**6, 4096), np.ones(4096, np.uint8))))
    worth = valuation.of_items(np.arange(4096), np.zeros((4096, 2), np.float32), np.zeros(4096, np.float32))
    users = [ScoredUser([np.zeros((tree.size(level), 2), np.float32) for level in (1, 2)], (),
                        np.sort(np.argsort(-worth)[:TOP_K]), Eligible.of(tree.n_items),
                        weights=np.array([1, 0], np.float32))] * 4
    cheapest = next(point.pairs for point in beam_curve(tree, users, valuation) if point.overlap >= 0.95)
    assert cheapest < next((point.pairs for point in beam_curve(tree, users) if point.overlap >= 0.95), 4096) / 2
