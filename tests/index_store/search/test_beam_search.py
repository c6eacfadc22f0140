"""Beam search over random trees, under a fake scorer."""


import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from index_store.search import beam_search
from index_store.search.beam_search import MOST_WIDENED, BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.targeting.eligibility import Eligible, PositionBitmap
from index_store.tree.tree import build_tree
from index_store.value.bids import CPM, AdBids, Bid
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, PlantedTime, allowed, pairs, reference, worlds
from tests.index_store.value.valued import plain_ecpm, random_bids, valuation


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_both_searches_agree_with_sorting_when_the_beam_is_as_wide_as_the_tree(world):
    tree, logits, excluded, top_k = world
    widest = max(tree.size(level) for level in range(1, tree.depth + 1))
    beam = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=widest, task_weights=WEIGHTS,
                                                       eligible=allowed(tree, excluded))
    exact = ExhaustiveSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, task_weights=WEIGHTS,
                                                              eligible=allowed(tree, excluded))
    assert pairs(beam) == pairs(exact) == reference(tree, logits, excluded, top_k)
    np.testing.assert_array_equal(beam.logits, logits[-1][tree.position_of_row[beam.rows]])
    assert not any(trace.scored for trace in beam.levels[:-1])


@settings(max_examples=300, deadline=None)
@given(worlds(), st.lists(st.integers(1, 4), min_size=3, max_size=3))
def test_result_is_full_and_allowed_when_the_beam_is_narrow(world, widths):
    tree, logits, excluded, top_k = world
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=top_k, beam_width=widths[:tree.depth - 1],
                                             task_weights=WEIGHTS, eligible=allowed(tree, excluded))
    gone = set(excluded.tolist())
    assert len(result.rows) == min(top_k, tree.n_items - len(gone))
    assert len(set(result.rows.tolist())) == len(result.rows)
    assert not gone & set(result.rows.tolist())
    assert pairs(result) == sorted(pairs(result), key=lambda pair: (-pair[0], pair[1]))
    assert (result.eligible, result.coverage) == (tree.n_items - len(gone), 1.0)
    for trace in result.levels:
        assert (trace.level in scorer.asked) == (trace.scored > 0)
        assert trace.scored in (0, trace.candidates)
        share = min(MOST_WIDENED, tree.n_items / max(1, result.eligible))
        assert trace.level == tree.depth or (trace.candidates > widths[trace.level - 1] * share) == (trace.scored > 0)
    assert result.pairs_scored == sum(map(len, scorer.asked.values()))
    for level, nodes in scorer.asked.items():
        for node in nodes:
            first, end = tree.bounds(level, np.array(node))
            assert set(tree.rows[first:end].tolist()) - gone, "a node without an allowed item was scored"


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_kept_nodes_are_the_best_when_the_first_level_is_cut(world, width):
    tree, logits, _, _ = world
    assume(tree.depth > 1 and tree.size(1) > width)
    scorer = FakeScorer(logits)
    BeamSearch(tree, scorer).search("query", top_k=1, beam_width=width, task_weights=WEIGHTS)
    scores = logits[0] @ WEIGHTS
    kept = sorted(sorted(range(tree.size(1)), key=lambda node: (-scores[node], node))[:width])
    expected = tree.children(1, np.array(kept)).tolist()
    assume(len(expected) > width or tree.depth == 2)  # else level 2 fits into the beam and is not scored
    assert scorer.asked[2] == expected


def test_search_refuses_when_the_beam_names_another_number_of_levels():
    tree = build_tree(np.array([[0], [1]]), np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="beam_width names 2 levels, the tree has 1"):
        BeamSearch(tree, FakeScorer([])).search("query", top_k=1, beam_width=[1, 1], task_weights=WEIGHTS)


def test_result_is_empty_when_everything_is_excluded():
    tree = build_tree(np.array([[0], [0], [1]]), np.eye(3, dtype=np.float32))
    scorer = FakeScorer([])
    result = BeamSearch(tree, scorer).search("query", top_k=2, beam_width=1, task_weights=WEIGHTS,
                                             eligible=allowed(tree, np.array([0, 1, 2])))
    assert (len(result.rows), result.logits.shape, scorer.asked) == (0, (0, 2), {})


def test_few_eligible_items_are_scored_directly_when_the_beam_would_cost_more():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 6, (300, 2)), random.normal(size=(300, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    gone = np.arange(20, 300)
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=5, beam_width=3, task_weights=WEIGHTS,
                                             eligible=allowed(tree, gone))
    assert list(scorer.asked) == [3]
    assert sorted(tree.rows[scorer.asked[3]].tolist()) == list(range(20))
    assert pairs(result) == reference(tree, logits, gone, 5)


@settings(max_examples=200, deadline=None)
@given(worlds(), st.lists(st.integers(1, 20), min_size=3, max_size=3),
       st.lists(st.floats(-10, 500), min_size=1, max_size=4))
def test_search_reaches_the_items_when_time_is_short(world, widths, affords):
    tree, logits, excluded, top_k = world
    ask = {"top_k": top_k, "beam_width": widths[:tree.depth - 1], "task_weights": WEIGHTS,
           "eligible": allowed(tree, excluded)}
    whole = BeamSearch(tree, FakeScorer(logits)).search("query", **ask)
    hurried = BeamSearch(tree, FakeScorer(logits)).search("query", **ask, deadline=PlantedTime(affords))
    assert hurried.levels[-1].level == tree.depth
    assert len(hurried.rows) or not whole.eligible
    assert not set(hurried.rows.tolist()) & set(excluded.tolist())
    assert 0 <= hurried.coverage <= 1
    if hurried.narrowed:
        assert hurried.coverage < 1
    else:
        assert pairs(hurried) == pairs(whole)
        assert hurried.coverage == 1


def test_beam_shrinks_to_one_node_a_level_when_no_time_is_left():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 8, (4000, 2)), random.normal(size=(4000, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    scorer = FakeScorer(logits)
    result = BeamSearch(tree, scorer).search("query", top_k=500, beam_width=6, task_weights=WEIGHTS,
                                             deadline=PlantedTime([0.0]))
    assert [len(scorer.asked[level]) for level in (1, 2)] == [8, 8]
    assert result.narrowed
    assert result.coverage < 0.2
    assert len(result.rows) < 500


def test_a_beam_in_place_of_direct_scoring_counts_as_narrowed():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 6, (300, 1)), random.normal(size=(300, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2)]
    ask = {"top_k": 250, "beam_width": 1, "task_weights": WEIGHTS, "eligible": allowed(tree, np.arange(10))}
    assert not BeamSearch(tree, FakeScorer(logits)).search("query", **ask, deadline=PlantedTime([300.0])).narrowed
    hurried = BeamSearch(tree, FakeScorer(logits)).search("query", **ask, deadline=PlantedTime([289.0]))
    assert hurried.narrowed
    assert len(hurried.rows) == 250


def test_targeted_search_is_whole_when_its_eligible_pairs_fit():
    random = np.random.default_rng(0)
    codes = np.stack([random.integers(0, 60, 20_000), random.integers(0, 20, 20_000)], axis=1)
    tree = build_tree(codes, random.normal(size=(20_000, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    gone = random.permutation(20_000)[:18_000]
    ask = {"top_k": 20, "beam_width": 20, "task_weights": WEIGHTS, "eligible": allowed(tree, gone)}
    whole = BeamSearch(tree, FakeScorer(logits)).search("query", **ask)
    assert whole.pairs_scored < 2_000 < 20_000 - len(gone) + 1
    hurried = BeamSearch(tree, FakeScorer(logits)).search("query", **ask,
                                                          deadline=PlantedTime([1.3 * whole.pairs_scored]))
    assert pairs(hurried) == pairs(whole)
    assert not hurried.narrowed


def test_most_promising_items_are_scored_when_time_runs_out_at_the_last_level():
    tree = build_tree(np.repeat(np.arange(10), 400)[:, None], np.ones((4000, 2), np.float32))
    scores = np.arange(10, dtype=np.float32)
    logits = [np.stack([scores, scores], 1), np.zeros((4000, 2), np.float32)]
    # All is well until the items are to be scored, then there is time for one node's.
    result = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=100, beam_width=3, task_weights=WEIGHTS,
                                                         deadline=PlantedTime([5000.0, 400.0, 0.0]))
    best_node = tree.node_of_position(1)[tree.position_of_row[result.rows]]
    assert set(best_node.tolist()) == {9}
    assert result.narrowed


@settings(max_examples=60, deadline=None)
@given(worlds(), st.lists(st.integers(1, 20), min_size=3, max_size=3),
       st.lists(st.floats(-10, 500), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_search_by_ecpm_reaches_the_items_when_time_is_short(world, widths, affords, seed):
    tree, logits, excluded, top_k = world
    bids = random_bids(tree.n_items, np.random.default_rng(seed))
    ask = {"top_k": top_k, "beam_width": widths[:tree.depth - 1], "task_weights": WEIGHTS,
           "eligible": allowed(tree, excluded), "valuation": valuation(tree, bids)}
    whole = BeamSearch(tree, FakeScorer(logits)).search("query", **ask)
    hurried = BeamSearch(tree, FakeScorer(logits)).search("query", **ask, deadline=PlantedTime(affords))
    assert hurried.levels[-1].level == tree.depth
    assert len(hurried.rows) or not whole.eligible
    assert not set(hurried.rows.tolist()) & set(excluded.tolist())
    assert 0 <= hurried.coverage <= 1
    if not hurried.narrowed:
        assert hurried.rows.tolist() == whole.rows.tolist()


def by_ecpm(tree, logits, bids, beam_width, top_k, eligible=None):
    if beam_width is None:
        return ExhaustiveSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, task_weights=WEIGHTS,
                                                                 eligible=eligible, valuation=valuation(tree, bids))
    return BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=beam_width,
                                                       task_weights=WEIGHTS, eligible=eligible,
                                                       valuation=valuation(tree, bids))


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 2**32 - 1))
def test_both_searches_return_the_ads_of_the_highest_ecpm(world, seed):
    tree, logits, excluded, top_k = world
    bids = random_bids(tree.n_items, np.random.default_rng(seed))
    widest = max(tree.size(level) for level in range(1, tree.depth + 1))
    eligible = allowed(tree, excluded)
    exact, beam = (by_ecpm(tree, logits, bids, width, top_k, eligible) for width in (None, widest))
    assert exact.rows.tolist() == beam.rows.tolist()
    gone, worth = set(excluded.tolist()), []
    for position, row in enumerate(tree.rows.tolist()):
        micros, number = (values[position] for values in bids.whole)
        score = float(logits[-1][position] @ WEIGHTS)
        worth += [] if row in gone else [(-plain_ecpm(logits[-1][position], micros, number), 0 if micros else -score,
                                          row)]
    best_first = sorted(worth)[:top_k]
    # Equal products may differ in their last bit, so that ties are told apart.
    assert exact.ecpm.tolist() == pytest.approx([-ecpm for ecpm, _, _ in best_first])
    assert [row for row, ecpm in zip(exact.rows.tolist(), exact.ecpm, strict=True) if not ecpm] == [
        row for ecpm, _, row in best_first if not ecpm]


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(st.integers(1, 3), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_a_narrow_beam_misses_no_ad_of_a_cpm_bid(world, widths, seed):
    tree, logits, excluded, top_k = world
    bids, eligible = random_bids(tree.n_items, np.random.default_rng(seed)), allowed(tree, excluded)
    exact, beam = (by_ecpm(tree, logits, bids, width, top_k, eligible) for width in (None, widths[:tree.depth - 1]))
    micros, types = bids.at(tree.position_of_row[exact.rows])
    assert set(exact.rows[(micros > 0) & (types == CPM)].tolist()) <= set(beam.rows.tolist())


def test_only_the_best_cpm_bids_are_scored_where_no_others_are_bid():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 8, (4000, 2)), random.normal(size=(4000, 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    bids = AdBids(random.integers(0, 300, 4000), np.zeros(4000, np.uint8))
    exact, beam = (by_ecpm(tree, logits, bids, width, 50) for width in (None, 1))
    assert beam.rows.tolist() == exact.rows.tolist()
    assert beam.pairs_scored == 50


def check_raised(tree, logits, bids, widths, top_k, eligible, random):
    """Raises the bids of some ads that a beam finds, one by one, and compares their ranks."""
    before = by_ecpm(tree, logits, bids, widths, top_k, eligible)
    assert len(before.rows) == min(top_k, before.eligible)
    assert len(set(before.rows.tolist())) == len(before.rows)
    for rank in random.permutation(len(before.rows))[:6].tolist():
        position = int(tree.position_of_row[before.rows[rank]])
        bid = bids.bid(position) or Bid(1, "CPC")
        higher = Bid(int(np.ceil(bid.micros * random.choice([1.1, 1.5, 2, 10]))), bid.type)
        after = by_ecpm(tree, logits, bids.replaced({position: higher}), widths, top_k, eligible)
        assert after.rows.tolist().index(before.rows[rank]) <= rank


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(st.integers(1, 4), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_a_higher_bid_never_lowers_the_rank_of_an_ad(world, widths, seed):
    tree, logits, excluded, top_k = world
    random = np.random.default_rng(seed)
    check_raised(tree, logits, random_bids(tree.n_items, random), widths[:tree.depth - 1], top_k,
                 allowed(tree, excluded), random)


@pytest.mark.parametrize("seed", [1635, 2364])
def test_a_higher_bid_lets_in_no_others_where_nodes_are_kept_to_hold_top_k(seed, monkeypatch):
    """Worlds in which it did, as long as the worth of nodes decided which of them hold top_k items."""
    monkeypatch.setattr(beam_search, "WIDER", 1)
    random = np.random.default_rng(seed)
    items, inner = int(random.integers(5, 200)), int(random.integers(2, 4))
    codes = random.integers(0, int(random.integers(2, 6)), (items, inner))
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in range(1, tree.depth + 1)]
    bids, top_k = random_bids(items, random), int(random.integers(1, items // 2))
    check_raised(tree, logits, bids, random.integers(1, 3, tree.depth - 1).tolist(), top_k, None, random)


def test_beam_follows_a_bid_that_the_score_would_not():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 8, (4000, 2)), random.normal(size=(4000, 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    logits[0][7], logits[1][-1] = -2, -2  # the last nodes look worst
    bids = AdBids.of([Bid(10, "CPC")] * 3999 + [Bid(10**9, "CPC")])
    found = by_ecpm(tree, logits, bids, 3, 5)
    assert found.rows[0] == tree.rows[-1]
    assert found.pairs_scored < 1000


def against_the_score(share):
    """A tree whose best leaf nodes have one eligible item each, all others' items being eligible at random."""
    random = np.random.default_rng(0)
    tree = build_tree(np.repeat(np.arange(100), 100)[:, None], np.ones((10_000, 2), np.float32))
    node = np.arange(100, dtype=np.float32)
    leaf = np.stack([-node, -node], 1)
    items = np.repeat(leaf, 100, axis=0) + random.normal(0, 4, (10_000, 1)).astype(np.float32)
    eligible = random.random(10_000) < share
    eligible[: 30 * 100] = False
    eligible[np.arange(30) * 100] = True
    return tree, [leaf, items], Eligible.of(10_000, PositionBitmap.of(eligible))


@pytest.mark.parametrize("share", [0.7, 0.2])
def test_beam_widens_as_far_as_its_pairs_go_where_targeting_goes_against_the_score(share):
    tree, logits, eligible = against_the_score(share)
    ask = {"top_k": 20, "task_weights": WEIGHTS, "eligible": eligible}
    found = BeamSearch(tree, FakeScorer(logits)).search("query", beam_width=5, **ask)
    exact = ExhaustiveSearch(tree, FakeScorer(logits)).search("query", **ask)
    assert found.overlap(exact) >= 0.95
    wider = min(MOST_WIDENED, 10_000 / eligible.total)
    assert found.pairs_scored <= 20 + 100 + wider * 5 * 100


@settings(max_examples=200, deadline=None)
@given(worlds(), st.lists(st.integers(1, 20), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_targeted_search_returns_the_best_of_what_it_scored(world, widths, seed):
    tree, logits, _, top_k = world
    flags = np.random.default_rng(seed).random(tree.n_items) < np.random.default_rng(seed).random()
    scorer = FakeScorer(logits)
    found = BeamSearch(tree, scorer).search("query", top_k=top_k, beam_width=widths[:tree.depth - 1],
                                            task_weights=WEIGHTS,
                                            eligible=Eligible.of(tree.n_items, PositionBitmap.of(flags)))
    scored = np.array(scorer.asked.get(tree.depth, []), np.int64)
    assert flags[scored].all()
    scores = logits[-1][scored] @ WEIGHTS
    best_first = sorted(zip((-scores).tolist(), tree.rows[scored].tolist(), strict=True))[:top_k]
    assert found.rows.tolist() == [row for _, row in best_first]
    assert len(found.rows) == min(top_k, int(flags.sum()))


def test_untargeted_search_spends_what_its_beam_says():
    random = np.random.default_rng(0)
    tree = build_tree(random.integers(0, 8, (4000, 2)), random.normal(size=(4000, 2)).astype(np.float32))
    logits = [random.normal(size=(tree.size(level), 2)).astype(np.float32) for level in (1, 2, 3)]
    scorer = FakeScorer(logits)
    BeamSearch(tree, scorer).search("query", top_k=10, beam_width=[3, 5], task_weights=WEIGHTS)
    kept = np.argsort(-(logits[1] @ WEIGHTS)[scorer.asked[2]])[:5]
    assert len(scorer.asked[2]) == 3 * 8
    assert len(scorer.asked[3]) == tree.items_below(2, np.array(scorer.asked[2])[kept]).sum()
