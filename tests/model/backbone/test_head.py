"""The over-arch learns which of a user's candidates are positives, whatever the scale of its inputs."""

import numpy as np
import pytest
import torch

from model.backbone.head import Head, Lists, train_head


def lists(rng, users=200, candidates=8):
    """Candidates whose first score, on the user's own scale, tells the one positive."""
    scores = rng.random((users * candidates, 2)).astype(np.float32)
    positives = np.zeros(users * candidates, bool)
    best = scores[:, 0].reshape(users, candidates).argmax(axis=1) + np.arange(users) * candidates
    positives[best] = True
    raw = scores * rng.uniform(1, 100, users).repeat(candidates)[:, None].astype(np.float32)
    inputs = np.concatenate([scores, raw, np.zeros((len(scores), 2), np.float32)], axis=1)
    return Lists(np.arange(users + 1) * candidates, inputs, positives, np.tile(np.arange(candidates), users))


def test_the_planted_score_is_learned(at_least=0.9):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, test, head = lists(rng), lists(rng), Head(2, 16)
    head.calibrate(torch.from_numpy(train.inputs))
    losses = train_head(head, train, epochs=20, rate=0.02, users_a_batch=32, rng=rng)
    assert losses[-1] < 0.5 * losses[0]
    chosen = head.score(test.inputs).reshape(200, 8).argmax(axis=1)
    assert (chosen == test.positives.reshape(200, 8).argmax(axis=1)).mean() > at_least


def test_calibrated_inputs_have_mean_zero_and_spread_one():
    head, inputs = Head(2, 4), torch.from_numpy(lists(np.random.default_rng(1)).inputs)
    head.calibrate(inputs)
    prepared = (head._prepare(inputs) - head.mean) / head.spread
    assert prepared[:, :4].mean(dim=0).tolist() == pytest.approx([0] * 4, abs=1e-4)
    assert prepared[:, :4].std(dim=0).tolist() == pytest.approx([1] * 4, abs=1e-4)
