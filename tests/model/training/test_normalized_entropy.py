"""Normalized entropy against closed forms, and where it is undefined."""

from dataclasses import replace

import numpy as np
import pytest

from model.training.normalized_entropy import NormalizedEntropy, impression_ne, sampled_ne
from tests.model.worlds import impressions, positives


def test_entropy_of_a_guess_at_the_base_rate_is_one(tolerance=1e-6):
    labels = np.array([[1.0], [0.0], [0.0], [0.0]], np.float32)
    entropy = NormalizedEntropy(1)
    entropy.add(np.full((4, 1), np.log(1 / 3), np.float32), labels)
    assert entropy.values()[0] == pytest.approx(1.0, abs=tolerance)


def test_entropy_clips_a_confident_mistake():
    entropy = NormalizedEntropy(1)
    entropy.add(np.array([[-1e9], [0.0]], np.float32), np.array([[1.0], [0.0]], np.float32))
    assert entropy.values()[0] == pytest.approx((-np.log(1e-7) + np.log(2)) / 2 / np.log(2), rel=1e-6)


def test_entropy_is_undefined_for_a_task_whose_labels_are_all_the_same():
    entropy = NormalizedEntropy(3)
    assert entropy.values() == [None, None, None]
    entropy.add(np.zeros((2, 3), np.float32), np.array([[1, 0, 1], [1, 0, 0]], np.float32))
    assert entropy.values() == [None, None, pytest.approx(1.0)]


def test_impressions_are_measured_by_task(impressions_run):
    log = impressions()
    test = replace(log.train, labels=log.train.labels * np.array([1, 0], np.int8))
    found = impression_ne(impressions_run.reader, impressions_run.clicks, impressions_run.key_index, test)
    assert 0 < found["click"] < 1.2
    assert found["purchase"] is None


def test_a_log_of_positives_is_measured_against_sampled_negatives(learned_run, less_than=0.8):
    run, data = learned_run, positives()
    arguments = (run.reader, run.clicks, run.key_index, data.test)
    every = np.arange(len(data.test))
    assert 0 < sampled_ne(*arguments, every, 0) < less_than
    assert sampled_ne(*arguments, every[:0], 0) is None
