"""Encoded ads: an ad that is sent again must be, to the scorer, what the export made of it."""

import numpy as np
import pytest

from index_store.declaration.values import FeatureError
from index_store.features.interaction import feature_names
from index_store.features.spectral import RAW_OFFSET
from index_store.features.tower_inputs import user_bags
from tests.index_store.live.arrived import PlantedWorld
from tests.index_store.live.changed import changes

DEAR = {"price": 9.0, "category": "c1", "brand": None, "tags": []}


@pytest.fixture(scope="module")
def world():
    return PlantedWorld()


def logits(world, query, row, snapshot):
    query.added = snapshot.scored
    depth = world.content.tree.depth
    position = row if row >= 300 else int(world.content.tree.position_of_row[row])
    return world.scorer.score(query, depth, np.array([position]))[0]


def test_ad_scores_as_in_the_bundle_when_it_gets_its_own_features_back(world):
    snapshot = world.sealed.with_changes(changes(*((f"ad-{row:04d}", {"features": DEAR}) for row in range(40))))
    assert snapshot.row(b"ad-0007") == 307
    back = snapshot.with_changes(changes(*((f"ad-{row:04d}", {"features": world.raw(row)}) for row in range(40)),
                                         after=40))
    for row in range(40):
        beyond = back.row(f"ad-{row:04d}".encode())
        assert beyond == 340 + row
        for query in world.queries[::7]:
            np.testing.assert_allclose(logits(world, query, beyond, back), logits(world, query, row, world.sealed),
                                       rtol=1e-5, atol=1e-5)


def test_new_ad_has_the_keys_of_its_fields_and_no_clicks(world):
    snapshot = world.sealed.with_changes(changes(("twin", {"features": world.raw(7)})))
    names = feature_names(world.content.encoder.spec)
    own = [at for at, name in enumerate(names) if not name.startswith(("co_click.", "alike.", "spectral."))]
    products = [at for at, name in enumerate(names) if name.startswith("spectral.") and "history" not in name]
    position = int(world.content.tree.position_of_row[7])
    for query in world.queries:
        query.added = snapshot.scored
        embeddings, features = world.scorer.gather(query, world.content.tree.depth, np.array([300, position]))
        assert features[0, own].tolist() == features[1, own].tolist()
        assert not features[0, [at for at, name in enumerate(names) if name.startswith(("co_click.", "alike."))]].any()
        assert features[0, products].tolist() == pytest.approx([0.0] * 5 + [np.log(RAW_OFFSET), 0.0])
    assert embeddings.dtype == world.content.embeddings[-1].dtype


def test_placed_ads_are_listed_under_leaves_of_their_category(world):
    snapshot = world.sealed.with_changes(changes(*((f"new-{row}", {"features": world.raw(row)}) for row in range(60))))
    tree, category = world.content.tree, world.content.items.categorical[:, 0]
    of_leaf = category[tree.rows[tree.representatives[-1]]]
    found = of_leaf[snapshot.placed.leaves]
    asked = category[world.content.users.history.values]
    known = np.isin(category[:60], asked)  # the sample of users has nothing to say about other categories
    assert (found[:, 0] == category[:60])[known].mean() > 0.9


@pytest.mark.parametrize(("features", "fact"), [
    ({}, "ad feature 'price' is missing"), (DEAR | {"colour": "red"}, "ad feature 'colour' is unknown"),
    (DEAR | {"price": None}, "price is None"), (DEAR | {"price": float("nan")}, "price is nan"),
    (DEAR | {"tags": "one"}, "tags is a str"), (DEAR | {"category": [1]}, "is a list; give text")])
def test_features_are_refused_when_they_do_not_fit(world, features, fact):
    with pytest.raises(FeatureError, match=fact):
        world.arrivals.features(features)


def bags_and_hits(world, history):
    content, features = world.content, world.content.encoder.encode_user({"age": 30})
    bags = user_bags(content.encoder.spec, features, history.clicks, history.fields)
    query = content.query_of(np.zeros((1, 8), np.float32), features, history)
    return {name: bag.values.tolist() for name, bag in bags.items()}, query


def test_clicks_on_added_ads_count_by_their_fields_and_those_on_changed_ones_as_before(world):
    twins = [(f"new-{row}", {"features": world.raw(row)}) for row in (7, 20)]
    away_and_back = [("ad-0005", {"features": DEAR}), ("ad-0005", {"features": world.raw(5)})]
    snapshot = world.sealed
    for change in (*twins, *away_and_back):
        snapshot = snapshot.with_changes(changes(change, after=snapshot.as_of))
    rows = np.array([300, 9, 303, 301, 9], np.int32)
    bags, query = bags_and_hits(world, snapshot.history(rows, world.content.item_keys))
    plain, expected = bags_and_hits(world, world.sealed.history(np.array([7, 9, 5, 20, 9], np.int32),
                                                                world.content.item_keys))
    assert plain.pop("history.ad_id") == [8, 10, 6, 21, 10]
    assert bags.pop("history.ad_id") == [0, 10, 6, 0, 10]
    assert bags == plain
    of_fields = expected.hits.families < 2
    assert query.hits.keys[query.hits.families < 2].tolist() == expected.hits.keys[of_fields].tolist()
    assert query.hits.values[query.hits.families < 2].tolist() == expected.hits.values[of_fields].tolist()
    spectral = world.content.query(np.zeros((1, 8), np.float32), world.content.encoder.encode_user({}),
                                   np.array([9, 5, 9], np.int32)).spectral
    assert query.spectral.sums.tolist() == spectral.sums.tolist()
