"""The users of a batch: unknown ones, and parts of a batch."""

import numpy as np
import torch

from index_store.features.encoder import UNKNOWN
from index_store.features.ragged import Ragged
from model.examples.user_batch import as_unknown
from tests.model.worlds import positives


def test_unknown_users_have_neither_fields_nor_a_history():
    users = positives().users.take(np.arange(3))
    features, history = as_unknown(users, Ragged.of([[1, 2], [3], [4]]), np.array([True, False, True]),
                                   np.zeros((1, users.dense.shape[1]), np.float32))
    assert features.categorical[[0, 2]].tolist() == [[UNKNOWN], [UNKNOWN]]
    assert features.categorical[1].tolist() == users.categorical[1].tolist()
    assert [history.row(row).tolist() for row in range(3)] == [[], [3], []]


def test_a_part_of_a_batch_has_its_users(tiny_run):
    users, chosen = np.arange(6), slice(2, 5)
    reader, clicks = tiny_run.reader, tiny_run.clicks
    with torch.no_grad():
        whole = reader.users(tiny_run.dataset.users.take(users), clicks.histories(users), tiny_run.key_index)
        own = reader.users(tiny_run.dataset.users.take(users[chosen]), clicks.histories(users[chosen]),
                           tiny_run.key_index)
    part = whole.part(chosen)
    assert torch.allclose(part.embeddings, own.embeddings, atol=1e-6)
    rows = np.arange(20)
    assert np.array_equal(reader.features(part, rows), reader.features(own, rows))


def test_pairs_score_the_users_that_own_them_with_the_candidates_given(tiny_run):
    reader, model = tiny_run.reader, tiny_run.model
    users, owners, rows = np.arange(3), np.array([0, 2, 2]), np.array([4, 4, 9])
    with torch.no_grad():
        batch = reader.users(tiny_run.dataset.users.take(users), tiny_run.clicks.histories(users), tiny_run.key_index)
        pairs = reader.pairs(batch, owners, rows, reader.items(rows), None)
        features = torch.from_numpy(reader.pair_features(batch, owners, rows))
        found = pairs.score(model, pairs.items, features, None)
        for at, owner in enumerate(owners):
            expected = model.score(batch.embeddings[[owner]], pairs.items[[at]], features[None, [at]])
            assert torch.allclose(found[at], expected[0, 0], atol=1e-6)
