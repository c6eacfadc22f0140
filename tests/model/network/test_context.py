"""Context in the network: rows that are added, unknown ones that stay zero, the parts of each event, and folding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.declaration.spec import FieldSpec
from index_store.features.encoder import FeatureEncoder
from index_store.features.interaction import feature_names
from model.config.monn import MoNNConfig, StackedLayer
from model.network.context import ContextRows
from model.network.folding import FoldedNetwork
from model.network.monn import MoNN
from tests.model.worlds import impressions

FIELDS = (FieldSpec("hour", "categorical", model=True), FieldSpec("position", "categorical", model=True, serve_as="1"))
SHAPE = MoNNConfig(table_width=4, user_hidden=(6,), item_hidden=(6,), pair_hidden=(5,), dim=4)


def encoder():
    data = impressions()
    vocabularies = data.encoder.vocabularies | {"context.hour": np.array([b"a", b"b", b"c"]),
                                                "context.position": np.array([b"1", b"2"])}
    return FeatureEncoder(replace(data.spec, context_fields=FIELDS), vocabularies, {}, data.encoder.item_ids)


def filled(rows):
    """Random rows, but for the unknown ones."""
    torch.manual_seed(0)
    with torch.no_grad():
        for table in rows.parameters():
            table[1:] = torch.randn(len(table) - 1, table.shape[1])
    return rows


def network(over_arch="wukong", stack=()):
    torch.manual_seed(1)
    model = MoNN(encoder(), replace(SHAPE, over_arch=over_arch), 2, stack=stack).eval()
    filled(model.context)
    return model


def test_rows_are_added_by_field_and_value():
    rows = filled(ContextRows(encoder(), 7, 2))
    users, ids = torch.randn(5, 7), torch.tensor([[0, 0], [1, 2], [3, 1], [2, 0], [0, 1]])
    hours, = rows.embeddings
    torch.testing.assert_close(rows.embed(users, ids), users + hours[ids[:, 0]])
    torch.testing.assert_close(rows.shift(ids), rows.shifts[0][ids[:, 0]] + rows.shifts[1][ids[:, 1]])
    assert not rows.shift(torch.zeros(1, 2, dtype=torch.int64)).any()
    assert [(name, tuple(table.shape)) for name, table in rows.tables()] == [
        ("context.hour", (4, 7)), ("context.hour", (4, 2)), ("context.position", (3, 2))]


def test_nothing_reaches_the_rows_of_unknown_values():
    rows = filled(ContextRows(encoder(), 7, 2))
    ids = torch.tensor([[0, 0], [1, 2]])
    (rows.embed(torch.randn(2, 7), ids).sum() + rows.shift(ids).sum()).backward()
    for table in rows.parameters():
        assert not table.grad[0].any()
    assert rows.embeddings[0].grad[1].tolist() == [1.0] * 7


def test_a_share_of_the_hours_is_forgotten_and_no_position():
    ids = np.tile(np.array([[3, 2]], np.int32), (4000, 1))
    found = ContextRows(encoder(), 7, 2).forget(ids, 0.25, np.random.default_rng(0))
    assert found[:, 0].tolist().count(0) / 4000 == pytest.approx(0.25, abs=0.03)
    assert set(found[:, 0].tolist()) == {0, 3}
    assert (found[:, 1] == 2).all()


def test_other_weights_begin_as_they_do_without_context():
    torch.manual_seed(1)
    plain = MoNN(impressions().encoder, SHAPE, 2)
    assert plain.context is None
    state = network().state_dict()
    assert set(state) - set(plain.state_dict()) == {"context.embeddings.0", "context.shifts.0", "context.shifts.1"}
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(state[name], tensor)


@pytest.mark.parametrize("over_arch", ["wukong", "deepfm", "dhen", "dot"])
def test_users_of_each_pair_are_scored_one_by_one(over_arch):
    model, features = network(over_arch), len(feature_names(encoder().spec))
    users, items = torch.randn(3, 4, sum(model.user_widths)), torch.randn(3, 4, model.item_width)
    pairs = torch.rand(3, 4, features)
    together = model.score(users.flatten(0, 1), items.flatten(0, 1)[:, None], pairs.flatten(0, 1)[:, None])[:, 0]
    for b in range(3):
        for n in range(4):
            alone = model.score(users[b, n][None], items[b, n][None, None], pairs[b, n][None, None])
            torch.testing.assert_close(together[4 * b + n], alone[0, 0])


@pytest.mark.parametrize("over_arch", ["wukong", "deepfm", "dhen", "dot"])
@pytest.mark.parametrize("layers", [1, 2])
def test_folded_rows_added_to_a_user_part_are_the_part_of_the_user_in_context(over_arch, layers):
    stack = (StackedLayer(1, replace(SHAPE, over_arch=over_arch, over_hidden=9)),) if layers == 2 else ()
    model = network(over_arch, stack)
    folded, rows = FoldedNetwork(model), model.context.arrays()
    parts = folded.context_parts(rows)
    user = torch.randn(1, sum(model.user_widths))
    for value in range(4):
        ids = np.array([value, 2], np.int32)
        with torch.no_grad():
            expected = folded.user_part(torch.from_numpy(rows.embed(user.numpy(), ids)))
            part = folded.user_part(user).numpy()
        np.testing.assert_allclose(parts.embed(part, ids), expected.numpy(), atol=1e-5)
    assert not parts.embeddings[0][0].any()
    assert parts.shifts is rows.shifts
