"""The towers' inputs against the plain definition, whatever bags stand side by side."""

import numpy as np
import pytest

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import dense_inputs, dense_width, item_bags, pool, table_sizes, user_bags
from tests.tiny_bundle import planted_world


def plainly(tables, dense, bags):
    rows = []
    for row in range(len(dense)):
        parts = [dense[row]]
        for name, bag in bags.items():
            ids = bag.row(row)
            parts.append(tables[name][ids].sum(axis=0) / np.sqrt(max(1, len(ids))))
        rows.append(np.concatenate(parts))
    return np.array(rows)


def test_tables_are_pooled_as_each_alone_when_some_bags_are_alike(tolerance=1e-6):
    rng = np.random.default_rng(0)
    one_each, history = Ragged.of([[0], [1], [2]]), Ragged.of([[0, 1], [], [2, 3, 4]])
    own = [Ragged.of([[1], [], [2, 3]]), Ragged.of([[], [], []]), Ragged.of([[0], [1], [2]])]
    bags = {name: one_each.with_values(rng.integers(0, 6, 3)) for name in "ab"} | {"c": own[0]}
    bags |= {name: history.with_values(rng.integers(0, 6, 5)) for name in "de"} | {"f": own[1], "g": own[2]}
    bags["h"] = history.with_values(rng.integers(0, 6, 5))
    tables = {name: rng.normal(size=(6, 2 + at)).astype(np.float32) for at, name in enumerate(bags)}
    dense = rng.normal(size=(3, 2)).astype(np.float32)
    found = pool(tables, dense, bags)
    assert found.dtype == np.float32
    assert np.allclose(found, plainly(tables, dense, bags), atol=tolerance)


@pytest.fixture(scope="module")
def content():
    return planted_world()[0]


def test_bags_hold_the_ids_of_fields_and_of_the_history_item_by_item(content):
    spec, users, keys = content.encoder.spec, content.users, content.item_keys
    bags = user_bags(spec, users.features, users.history, keys)
    assert list(bags) == list(table_sizes(content.encoder)[0])
    for user in range(5):
        history = users.history.row(user).tolist()
        assert bags["user.country"].row(user).tolist() == users.features.categorical[user, :1].tolist()
        assert bags["user.interests"].row(user).tolist() == users.features.multi[0].row(user).tolist()
        assert bags["history.ad_id"].row(user).tolist() == [row + 1 for row in history]
        assert bags["history.tags"].row(user).tolist() == [tag for row in history for tag in keys["tags"].row(row)]
    found = item_bags(spec, np.array([7, 3]), keys)
    assert list(found) == list(table_sizes(content.encoder)[1])
    assert [found["item.ad_id"].row(at).tolist() for at in (0, 1)] == [[8], [4]]
    assert found["item.brand"].row(1).tolist() == keys["brand"].row(3).tolist()


def test_bags_that_are_alike_share_their_lengths_when_they_are_pooled_together(content):
    bags = user_bags(content.encoder.spec, content.users.features, content.users.history, content.item_keys)
    assert bags["history.ad_id"].indptr is bags["history.brand"].indptr is content.users.history.indptr


def test_tables_have_a_row_for_each_id_and_the_unknown_one(content):
    user, item = table_sizes(content.encoder)
    sizes = user | item
    assert {name: len(table) for name, table in content.tables.items()} == sizes
    assert sizes["item.ad_id"] == len(content.encoder.item_ids) + 1


def test_optional_numbers_have_a_flag_after_all_numbers():
    spec = FeatureSpec(user_fields=(FieldSpec("a", "dense"), FieldSpec("b", "dense", optional=True),
                                    FieldSpec("c", "dense"), FieldSpec("d", "dense", optional=True)),
                       item_fields=(FieldSpec("price", "dense"),), tasks=(TaskSpec("click"),), negatives="sampled",
                       key_families=(KeyFamily("same_ad", "ad_id", "match"),))
    dense = np.array([[1, np.nan, 3, 4], [5, 6, 7, np.nan]], np.float32)
    assert dense_inputs(spec, "user", dense).tolist() == [[1, 0, 3, 4, 1, 0], [5, 6, 7, 0, 0, 1]]
    assert (dense_width(spec, "user"), dense_width(spec, "item")) == (6, 1)
    assert dense_inputs(spec, "item", dense[:, :1]) is not None
    assert FeatureSpec.from_json(spec.to_json()) == spec
    assert "optional" not in spec.to_json()["item_fields"][0]
