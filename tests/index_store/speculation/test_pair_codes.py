"""Codes of pairs: what comes back is what went in, to half a step, and outliers are cut."""

import numpy as np

from index_store.speculation.pair_codes import MOST, PairCodes


def codes_of(seed=0):
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(6, 2)))[0].astype(np.float32)
    return PairCodes(random.normal(size=6).astype(np.float32), axes, np.array([0.01, 0.02, 0.05], np.float32))


def test_values_come_back_to_half_a_step_when_the_axes_span_the_embeddings():
    codes, random = codes_of(), np.random.default_rng(1)
    residuals = random.uniform(-1, 1, (50, 1)).astype(np.float32)
    components = random.uniform(-2, 2, (50, 2)).astype(np.float32)
    found = codes.decoded(codes.encoded(residuals, codes.mean + components @ codes.axes.T))
    assert found.dtype == np.float32
    assert (np.abs(found - np.concatenate([residuals, components], axis=1)) <= codes.steps / 2 + 1e-5).all()
    assert codes.width == 3


def test_outliers_become_the_largest_code():
    found = codes_of().encoded(np.array([[100.0], [-100.0]], np.float32), np.zeros((2, 6), np.float32))
    assert found.dtype == np.int8
    assert found[:, 0].tolist() == [MOST, -MOST]
