"""What a search records of its choices."""


import numpy as np

from index_store.search.beam_search import BeamSearch
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer


def test_choices_are_told_when_they_are_asked_for():
    random = np.random.default_rng(1)
    tree = build_tree(random.integers(0, 6, (300, 2)), random.normal(size=(300, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=5, beam_width=2, task_weights=WEIGHTS, trace=True)
    assert [step.level for step in result.steps] == [1, 2, 3]
    for step in result.steps:
        assert step.nodes.tolist() == scorer.asked[step.level]
        np.testing.assert_array_equal(step.scores, logits[step.level - 1][step.nodes] @ WEIGHTS)
        assert step.scores[step.kept].min() >= step.scores[~step.kept].max()
    assert sorted(tree.rows[result.steps[-1].nodes[result.steps[-1].kept]]) == sorted(result.rows)
