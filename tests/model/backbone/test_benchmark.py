"""All variants in one pass over the users."""

import numpy as np
import pytest

from model.backbone import beam, benchmark, model, ranking
from model.backbone.features import PairFeatures


def test_rows_are_those_of_each_variant_alone(split, fitted):
    backbone, neighbours = fitted
    tree = beam.learn_tree(backbone.towers, 0, (4, 3))
    rows = benchmark.judge(backbone, neighbours, split.test, {"same": backbone.towers}, "beam", tree, (99, 99))
    users = benchmark.users_of(split.test)
    assert np.array_equal(users, np.flatnonzero(np.diff(split.test.indptr)))
    block = PairFeatures(split.train, neighbours, backbone.towers).block(users)
    pairs = model.candidates(block, backbone.config.candidates)
    expected = ranking.quality(model.rank(backbone.head, block, *pairs), split.test[users])
    assert set(rows) == {"", "same", "beam"}
    assert rows[""].recall == pytest.approx(expected.recall, abs=1e-3)
    assert rows[""].ndcg == pytest.approx(expected.ndcg, abs=1e-3)
    assert rows[""].pairs == pytest.approx(len(pairs[0]) / len(users))
    assert rows["same"].recall == pytest.approx(rows[""].recall, abs=0.01)  # the same towers, near ties aside
    assert rows["beam"].pairs == pytest.approx(120 - split.train.nnz / 300, abs=0.5)  # so wide that all are scored
