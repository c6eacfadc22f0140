"""Caps: the walk against a plain loop, both searches under caps against it, and what is said of who was held back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.declaration.values import FeatureError
from index_store.features.encoder import Features
from index_store.search.caps import Cap, Caps
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer
from index_store.targeting.eligibility import Eligible, PlacedMembers
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import build_tree
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer
from tests.index_store.value.valued import random_bids, valuation
from tests.index_store.worlds import SPEC


class Rescorer(FakeScorer):
    """A FakeScorer that may be asked again, as a search that goes on asks it."""

    def score(self, query, level, nodes):
        return self.logits[level - 1][nodes]


def capped_world(seed, n_caps):
    """(tree, logits, eligible, caps, top_k): some items lie beyond the tree, some are excluded, few values are common.
    """
    random = np.random.default_rng(seed)
    items, inner, added = int(random.integers(2, 150)), int(random.integers(1, 4)), int(random.integers(0, 12))
    codes = random.integers(0, random.integers(2, 6), (items, inner))
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    sizes = [*(tree.size(level) for level in range(1, tree.depth)), items + added]
    logits = [random.integers(-2, 3, (size, 2)).astype(np.float32) for size in sizes]
    placed = None
    if added:
        leaves = random.integers(0, tree.size(tree.depth - 1), (added, 1)).astype(np.int32)
        placed = PlacedMembers(PlacedItems(tree, leaves), np.arange(added))
    excluded = random.permutation(items + added)[:random.integers(0, (items + added) // 2)]
    eligible = Eligible.of(items, None, excluded, placed)
    caps = []
    for number in range(n_caps):
        # Values follow the nodes of the first level, so that a beam sees few of them.
        values = np.append(tree.node_of_position(1)[tree.position_of_row], random.integers(0, 4, added)) // (number + 1)
        noisy = random.random(items + added) < random.choice([0.0, 0.1, 1.0])
        values = np.where(noisy, random.integers(0, 9, items + added), values).astype(np.int32)
        caps.append(Cap(f"field {number}", int(random.integers(1, 4)), values[:items], values[items:]))
    return tree, logits, eligible, Caps(tuple(caps)), int(random.integers(1, 30))


def walk(tree, eligible, worth, caps, top_k):
    """Rows and the names of the caps that held others back, by a plain loop; `worth` by position."""
    row_of = {at: int(tree.rows[at]) if at < tree.n_items else at for at in eligible.positions().tolist()}
    taken, held, used = [], {}, {}
    for at in sorted(row_of, key=lambda at: (-worth[at], row_of[at])):
        if len(taken) == top_k:
            break
        row = row_of[at]
        values = [(cap.name, int(cap.values(np.array([row]))[0])) for cap in caps.caps]
        full = [name for (name, value), cap in zip(values, caps.caps, strict=True)
                if used.get((name, value), 0) == cap.most]
        if full:
            held[row] = full[0]
            continue
        taken.append(row)
        used |= {key: used.get(key, 0) + 1 for key in values}
    return taken, held


def search(kind, world, **options):
    tree, logits, eligible, caps, top_k = world
    return kind(tree, Rescorer(logits)).search("query", top_k=top_k, task_weights=WEIGHTS, eligible=eligible, caps=caps,
                                               **options)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_exhaustive_search_is_a_plain_walk_that_explanations_agree_with(seed, n_caps):
    world = tree, logits, eligible, caps, top_k = capped_world(seed, n_caps)
    found = search(ExhaustiveSearch, world, trace=True)
    taken, held = walk(tree, eligible, logits[-1] @ WEIGHTS, caps, top_k)
    assert found.rows.tolist() == taken
    explainer = Explainer(tree, found, eligible.placed.items if eligible.placed is not None else None, caps, top_k)
    for at in eligible.positions().tolist()[:20]:
        row = int(tree.rows[at]) if at < tree.n_items else at
        told = explainer.explain(row, True)
        assert (told.outcome, told.cap) == (("returned", None) if row in taken else
                                            ("capped", held[row]) if row in held else ("outscored", None))


def test_many_items_are_looked_at_where_the_best_share_a_value():
    values = np.append(np.zeros(900, np.int32), np.arange(1, 101, dtype=np.int32))
    tree = build_tree(np.zeros((1000, 0), np.int64), np.ones((1000, 2), np.float32))
    scores = -tree.rows.astype(np.float32)
    caps = Caps((Cap("brand", 2, values, np.empty(0, np.int32)),))
    found = search(ExhaustiveSearch, (tree, [np.stack([scores, scores], 1)], None, caps, 5))
    assert found.rows.tolist() == [0, 1, 900, 901, 902]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_exhaustive_search_by_ecpm_keeps_the_best_of_each_value(seed):
    world = tree, logits, _, caps, top_k = replaced(capped_world(seed, 1), eligible=None)
    by_ecpm = valuation(tree, random_bids(tree.n_items, np.random.default_rng(seed)))
    world = (tree, [*logits[:-1], logits[-1][:tree.n_items]], None, caps, top_k)
    found = search(ExhaustiveSearch, world, valuation=by_ecpm)
    of_items = by_ecpm.of_items(np.arange(tree.n_items), world[1][-1], world[1][-1] @ WEIGHTS)
    assert found.rows.tolist() == walk(tree, Eligible.of(tree.n_items), of_items, caps, top_k)[0]


def replaced(world, eligible):
    tree, logits, _, caps, top_k = world
    return tree, logits, eligible, caps, top_k


def test_names_are_fields_or_roles_and_added_items_have_values_too():
    spec = replace(SPEC, item_fields=tuple(replace(f, role="advertiser") if f.name == "brand" else f
                                           for f in SPEC.item_fields))
    items, added = (Features(np.zeros((len(ids), 1), np.float32), np.array(ids, np.int32)[:, None], ())
                    for ids in ([0, 3, 3], [5, 0]))
    for name in ("brand", "advertiser"):
        caps = Caps.of(spec, {name: 1}, items, added)
        assert caps.caps[0].values(np.arange(5)).tolist() == [0, 3, 3, 5, 0]
        assert caps.passed(np.arange(5)).tolist() == [True, True, False, True, False]
        assert Caps.of(spec, {name: 2}, items, None).passed(np.arange(3)).all()


@pytest.mark.parametrize(("name", "said"), [
    ("price", "max_per caps 'price' at 2, but that is a dense ad field"), ("tags", "is a multi ad field"),
    ("advertiser", "is neither an ad field nor a role of one"), ("country", "is neither an ad field"),
    ("ad_id", "is neither an ad field")])
def test_a_cap_is_refused_on_what_is_no_categorical_item_field(name, said):
    with pytest.raises(FeatureError) as refused:
        Caps.of(SPEC, {"brand": 1, name: 2}, None, None)
    assert said in refused.value.fact
    assert refused.value.remedy == "cap some of brand"
