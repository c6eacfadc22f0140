"""Sampled negatives: their correction is unbiased, and clicked items are marked."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.examples.negatives import NegativeSampler, known_positives


def test_log_q_correction_estimates_the_full_sum_without_bias(tolerance=0.02):
    rng = np.random.default_rng(0)
    popularity, scores = rng.integers(0, 50, 40), rng.normal(size=40)
    candidates = NegativeSampler(popularity, 0.5).items(400, 16, 20_000, rng)
    estimates = np.exp(scores[candidates.ids] + candidates.correction).sum(axis=1)
    assert estimates.mean() == pytest.approx(np.exp(scores).sum(), rel=tolerance)


def test_log_q_of_a_node_is_that_of_its_members_together(tolerance=0.02):
    rng = np.random.default_rng(1)
    sampler = NegativeSampler(rng.integers(0, 50, 60), 0.5)
    node_of_row = rng.integers(0, 30, 60)
    node_q = np.bincount(node_of_row, sampler.q, 30)
    scores = np.where(node_q > 0, rng.normal(size=30), -np.inf)
    nodes = sampler.nodes(sampler.items(800, 16, 20_000, rng), node_of_row, node_q)
    estimates = np.exp(scores[nodes.ids] + nodes.correction).sum(axis=1)
    assert estimates.mean() == pytest.approx(np.exp(scores).sum(), rel=tolerance)


def test_a_level_with_few_nodes_is_taken_whole():
    rng = np.random.default_rng(2)
    sampler = NegativeSampler(np.ones(60, int), 1.0)
    nodes = sampler.nodes(sampler.items(3, 16, 100, rng), np.arange(60) % 4, np.full(4, 0.25))
    assert nodes.ids.tolist() == [[0, 1, 2, 3]] * 3
    assert not nodes.correction.any()


def test_known_positives_are_marked_for_their_own_user_only():
    candidates = np.array([[4, 7, 7], [4, 7, 2]])
    liked = Ragged(np.array([0, 2, 2]), np.array([7, 9], np.int32))
    assert known_positives(candidates, 10, liked).tolist() == [[False, True, True], [False, False, False]]
    assert not known_positives(candidates, 10, Ragged(np.array([0, 0, 0]), np.array([], np.int32))).any()
