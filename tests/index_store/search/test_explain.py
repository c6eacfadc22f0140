"""Explanations of searches whose outcome is known: scores are planted by position."""

import numpy as np
import pytest

from index_store.search.beam_search import BeamSearch
from index_store.search.deadline import Deadline, SearchCost
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer
from index_store.search.ranking import SearchResult
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree, build_tree
from tests.index_store.stacks import ONE, Stack, query

CLICK = np.ones(1, np.float32)
# Four nodes of three items; item rows are the positions turned round, so that nobody can confuse them.
TREE = Tree(np.arange(12, dtype=np.int32)[::-1].copy(), (np.array([0, 3, 6, 9, 12], np.int32),),
            (np.array([0, 3, 6, 9], np.int32),))
NODES = np.array([5.0, 7.0, 1.0, 3.0], np.float32)
ITEMS = np.arange(12, dtype=np.float32)


class Planted:
    ensemble = ()

    def score(self, query, level, nodes):
        return (NODES if level == 1 else ITEMS)[nodes][:, None]


def beam(top_k=2, width=2, eligible=None):
    return BeamSearch(TREE, Planted()).search(None, top_k=top_k, beam_width=width, task_weights=CLICK,
                                              eligible=eligible, trace=True)


def row(position):
    return 11 - position


def test_path_has_score_rank_and_distance_to_the_first_dropped_when_an_item_is_returned():
    found = beam()
    assert found.rows.tolist() == [row(5), row(4)]  # of the nodes 0 and 1
    for path, score, rank in zip(Explainer(TREE, found).paths(found.rows), (5.0, 4.0), (1, 2), strict=True):
        node, item = path
        assert (node.level, node.node, node.score, node.rank, node.margin) == (1, 1, 7.0, 1, 4.0)
        assert (item.level, item.score, item.rank, item.margin) == (2, score, rank, score - 3.0)


@pytest.mark.parametrize(("position", "outcome", "level", "score", "rank", "margin"), [
    (5, "returned", 2, 5.0, 1, 2.0), (3, "outscored", 2, 3.0, 3, -1.0), (0, "outscored", 2, 0.0, 6, -4.0),
    (9, "pruned", 1, 3.0, 3, -2.0), (8, "pruned", 1, 1.0, 4, -4.0)])
def test_outcome_names_level_and_margin_when_an_item_is_asked_about(position, outcome, level, score, rank, margin):
    found = Explainer(TREE, beam()).explain(row(position), True)
    last = found.path[-1]
    assert (found.outcome, last.level, last.score, last.rank, last.margin) == (outcome, level, score, rank, margin)
    assert found.kth_score == 4.0


def test_margin_is_absent_when_nothing_was_dropped():
    found = Explainer(TREE, beam(top_k=12, width=3)).explain(row(0), True)
    assert found.outcome == "returned"
    assert all(step.margin is None for step in found.path)  # the beam widened to all nodes, and all items returned


def test_item_is_filtered_when_it_was_not_eligible():
    found = Explainer(TREE, beam(eligible=Eligible.of(12, None, np.array([5])))).explain(row(5), False)
    assert (found.outcome, found.path) == ("filtered", ())


def test_upper_levels_have_no_score_when_few_items_were_scored_directly():
    eligible = Eligible.of(12, None, np.arange(9))
    found = beam(eligible=eligible)
    explained = Explainer(TREE, found).explain(row(9), True)
    assert [step.score for step in explained.path] == [None, 9.0]
    assert (explained.outcome, explained.path[-1].rank) == ("outscored", 3)


def test_rank_is_that_among_all_items_when_the_search_was_exhaustive():
    found = ExhaustiveSearch(TREE, Planted()).search(None, top_k=3, task_weights=CLICK, trace=True)
    explained = Explainer(TREE, found).explain(row(2), True)
    assert (explained.outcome, explained.path[-1].rank, explained.path[0].score) == ("outscored", 10, None)


@pytest.mark.parametrize("ensemble", [(), (1,), (1, 2)])
def test_explanations_are_the_same_when_a_deadline_is_far_away(ensemble):
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 6, (200, 3)), random.normal(size=(200, 2)).astype(np.float32))
    stack = Stack(tree, ensemble, random)

    def explained(deadline):
        found = BeamSearch(tree, stack.scorer()).search(query(), top_k=5, beam_width=[3, 6, 8], task_weights=ONE,
                                                        deadline=deadline, trace=True)
        return [Explainer(tree, found).explain(row, True) for row in range(tree.n_items)]

    plain = explained(None)
    assert {found.outcome for found in plain} == {"returned", "outscored", "pruned"}
    assert explained(Deadline(np.inf, SearchCost())) == plain


def test_item_was_cut_short_when_its_branch_was_kept_but_never_scored():
    whole = beam()
    last = whole.steps[-1]
    cut = type(last)(last.level, last.nodes[:3], last.scores[:3], last.worth[:3], last.kept[:3])
    short = SearchResult(whole.rows, whole.scores, whole.logits, whole.levels, 12, 0.5, (whole.steps[0], cut))
    explained = Explainer(TREE, short).explain(row(5), True)
    assert explained.outcome == "cut_short"
    assert explained.path[0].score == 7.0
    assert explained.path[1].score is None
