"""Tensors of a batch: dropped ids, embeddings by row, pairs in context, and nodes of a tree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.features.encoder import UNKNOWN
from index_store.features.ragged import Ragged
from model.examples.batches import HardTreeReader, IdDropout
from model.experiments.context import reading
from tests.model.tiny_runs import STACK, TINY, trained_run
from tests.model.worlds import in_context


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_id_dropout_replaces_its_share_of_ids(share):
    bag = Ragged.of([[3] * 5000, [4] * 5000])
    dropped = IdDropout(share, np.random.default_rng(0))(bag)
    assert (dropped.values == UNKNOWN).mean() == pytest.approx(share, abs=0.02)
    assert set(dropped.row(0).tolist()) <= {3, UNKNOWN}
    assert np.array_equal(dropped.indptr, bag.indptr)


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


def read(run, users):
    return run.reader.users(run.dataset.users.take(users), run.clicks.histories(users), run.key_index)


def test_pairs_are_scored_in_the_context_of_each(context_run):
    users, owners, rows = np.arange(3), np.array([0, 0, 1, 1, 2]), np.array([5, 9, 0, 5, 7])
    ids = np.array([[1, 1], [2, 2], [0, 1], [2, 0], [1, 2]], np.int32)
    reader = context_run.reader
    with torch.no_grad():
        items = reader.items(rows)
        pairs = reader.pairs(read(context_run, users), owners, rows, items, ids)
        together = reader.score_pairs(pairs)
        for at, owner in enumerate(owners):
            alone = reader.score_items(reader.in_context(read(context_run, users[[owner]]), ids[[at]]),
                                       rows[None, [at]], items[None, [at]])
            assert torch.allclose(together[at], alone[0, 0], atol=1e-5)
        unknown = reader.score_pairs(reader.pairs(pairs.users, owners, rows, items, None))
        assert not torch.allclose(unknown, together, atol=0.1)
        shifts = context_run.model.context.shifts
        assert torch.allclose(reader.shift(ids), shifts[0][ids[..., 0]] + shifts[1][ids[..., 1]])


@pytest.fixture(scope="module")
def stacked_run(tmp_path_factory):
    """A stack of two layers, which nobody may change."""
    return trained_run(tmp_path_factory.mktemp("stacked") / "run", replace(STACK, epochs=1, rounds=1))


@pytest.mark.parametrize("of", ["tiny_run", "impressions_run", "stacked_run"])
def test_pairs_are_scored_as_their_users_candidates(of, request, tolerance=1e-5):
    run = request.getfixturevalue(of)
    owners, rows = np.array([0, 0, 1, 3, 3, 3]), np.array([5, 9, 0, 7, 5, 7])
    users, every = read(run, np.arange(4)), np.tile(np.arange(len(run.dataset.items)), (4, 1))
    nodes = run.nodes()
    with torch.no_grad():
        items = run.reader.items(every)
        pairs = run.reader.pairs(users, owners, rows, run.reader.items(rows), None)
        for within in (None, nodes):
            with run.reader.using_nodes(within):
                expected = run.reader.score_items(users, every, items)[owners, rows]
                assert torch.allclose(run.reader.score_pairs(pairs), expected, atol=tolerance)
        for level in (1, 2):
            expected = nodes.score_holding(users, level, every, items)[owners, rows]
            assert torch.allclose(nodes.score_pairs(pairs, level), expected, atol=tolerance)


def test_users_stay_as_they_are_where_context_only_shifts_logits(tmp_path):
    run = trained_run(tmp_path / "run", TINY, reading(in_context(400), ("position",)))
    users = read(run, np.arange(3))
    assert run.reader.in_context(users, np.ones((3, 1), np.int32)) is users
    assert run.model.context.shifts[0].any()


def test_users_stay_as_they_are_where_the_model_reads_no_context(tiny_run):
    users = read(tiny_run, np.arange(3))
    assert tiny_run.reader.in_context(users, None) is users
    assert tiny_run.reader.shift(None) == 0
