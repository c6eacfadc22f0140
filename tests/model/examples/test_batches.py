"""Tensors of a batch: dropped ids, unknown users, embeddings by row, and nodes of a tree."""

import numpy as np
import pytest
import torch

from index_store.features.encoder import UNKNOWN
from index_store.features.ragged import Ragged
from model.examples.batches import HardTreeReader, IdDropout, as_unknown
from tests.model.worlds import positives


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_id_dropout_replaces_its_share_of_ids(share):
    bag = Ragged.of([[3] * 5000, [4] * 5000])
    dropped = IdDropout(share, np.random.default_rng(0))(bag)
    assert (dropped.values == UNKNOWN).mean() == pytest.approx(share, abs=0.02)
    assert set(dropped.row(0).tolist()) <= {3, UNKNOWN}
    assert np.array_equal(dropped.indptr, bag.indptr)


def test_unknown_users_have_neither_fields_nor_a_history():
    users = positives().users.take(np.arange(3))
    features, history = as_unknown(users, Ragged.of([[1, 2], [3], [4]]), np.array([True, False, True]),
                                   np.zeros((1, users.dense.shape[1]), np.float32))
    assert features.categorical[[0, 2]].tolist() == [[UNKNOWN], [UNKNOWN]]
    assert features.categorical[1].tolist() == users.categorical[1].tolist()
    assert [history.row(row).tolist() for row in range(3)] == [[], [3], []]


def test_items_are_embedded_by_row_however_often_they_are_named(tiny_run):
    rows = np.array([[5, 9, 5], [0, 5, 79]])
    with torch.no_grad():
        found = tiny_run.reader.items(rows)
    assert np.allclose(found.numpy(), tiny_run.reader.all_items()[rows], atol=1e-6)


def test_nodes_hold_their_items_and_score_with_their_offset(tiny_run):
    tree, _ = tiny_run.tree.build(tiny_run.reader.all_items())
    nodes = HardTreeReader(tiny_run.reader, tree, tiny_run.key_index, "maximum")
    rows = np.array([[3, 40], [11, 3]])
    users = np.arange(2)
    with torch.no_grad():
        batch = tiny_run.reader.users(tiny_run.dataset.users.take(users), tiny_run.clicks.histories(users),
                                      tiny_run.key_index)
        held = nodes.score_holding(batch, 1, rows, tiny_run.reader.items(rows))
        every = nodes.score_nodes(batch, 1, np.arange(tree.size(1)))
    for user in users:
        assert torch.allclose(held[user], every[user, nodes.node_of_row[0][rows[user]]], atol=1e-6)


def test_nodes_are_used_within_the_block_only(tiny_run):
    nodes = tiny_run.nodes()
    with tiny_run.reader.using_nodes(nodes):
        assert tiny_run.reader.nodes is nodes
    assert tiny_run.reader.nodes is None
