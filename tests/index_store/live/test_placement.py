"""Placement: an ad of the bundle is placed where the tree has it."""

import dataclasses

import numpy as np

from index_store.live.placement import LEAVES, Placement
from index_store.search.scoring import AddedItems, TowerScorer
from index_store.tree.placed_items import PlacedItems
from index_store.tree.tree import Tree
from tests.index_store.live.arrived import PlantedWorld


def items_of(world, positions):
    content = world.content
    return AddedItems(PlacedItems(content.tree, np.zeros((len(positions), 0), np.int32)),
                      content.embeddings[-1][positions], content.keys_of_position.take(positions),
                      (content.index.spectral.items.take(positions),))


def test_ads_of_the_tree_are_listed_under_distinct_leaves_of_their_category():
    world = PlantedWorld()
    tree, category = world.content.tree, world.content.items.categorical[:, 0]
    positions = np.arange(tree.n_items)
    leaves = Placement(world.scorer, world.content.index, world.queries).leaves(items_of(world, positions))
    assert leaves.shape == (300, LEAVES)
    assert (leaves[:, 0] != leaves[:, 1]).all()
    known = np.isin(category[tree.rows], category[world.content.users.history.values])
    assert (category[tree.rows[tree.representatives[-1][leaves[:, 0]]]] == category[tree.rows])[known].mean() > 0.9


def test_no_call_of_the_scorer_has_more_items_than_a_block_and_leaves_are_the_same(monkeypatch):
    world, asked = PlantedWorld(), []
    items = items_of(world, np.arange(40))
    whole = Placement(world.scorer, world.content.index, world.queries).leaves(items)

    class Recorded(TowerScorer):
        def score_alone(self, query, level, nodes):
            asked.append(len(nodes))
            return super().score_alone(query, level, nodes)

    monkeypatch.setattr("index_store.live.placement.BLOCK", 16)
    fields = {field.name: getattr(world.scorer, field.name)
              for field in dataclasses.fields(world.scorer) if field.init}
    again = Placement(Recorded(**fields), world.content.index, world.queries).leaves(items)
    assert 14 <= max(asked) <= 16
    np.testing.assert_array_equal(np.sort(again), np.sort(whole))  # sums of other blocks may round a tie the other way


def test_ads_have_no_leaves_when_the_tree_has_none():
    world = PlantedWorld()
    flat = Tree(world.content.tree.rows, (), ())
    placement = Placement(type("Flat", (), {"tree": flat})(), world.content.index, world.queries)
    assert placement.leaves(items_of(world, np.arange(5))).shape == (5, 0)
