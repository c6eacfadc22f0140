"""Parts of a batch: together they are the batch, and their shares in its loss sum up to 1."""

from dataclasses import replace

import numpy as np
import pytest

from tests.model.tiny_runs import IN_CONTEXT, TINY, trainer_of
from tests.model.worlds import impressions, in_context, positives

LOGS = [(TINY, positives), (TINY, impressions), (replace(IN_CONTEXT, epochs=1), in_context)]


def batch_of(folder, config, log):
    trainer = trainer_of(folder, config, log())
    return trainer, trainer.objective.prepare(np.arange(11), trainer.folds[0], np.random.default_rng(0))


@pytest.mark.parametrize(("config", "log"), LOGS)
def test_parts_hold_the_batch(tmp_path, config, log):
    trainer, batch = batch_of(tmp_path, config, log)
    parts = [batch.part(slice(0, 4)), batch.part(slice(4, 11))]
    for name in ("own", "filled", "events", "rows", "features"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(batch, name)), name
    for part in parts:
        reader = trainer.run.reader
        assert np.array_equal(reader.pair_features(part.users, part.owners, part.rows) if part.drawn is None
                              else reader.features(part.users, part.rows), part.features)
        if part.drawn is None:
            assert np.array_equal(part.rows, part.own[part.filled])
    of_part, of_batch = (one.users.bags["history.ad_id"] for one in (parts[1], batch))
    assert [of_part.row(at).tolist() for at in range(7)] == [of_batch.row(at).tolist() for at in range(4, 11)]
    assert (parts[1].drawn is None) == (batch.drawn is None)
    if batch.drawn is not None:
        assert np.array_equal(parts[1].drawn.rows, batch.drawn.rows[4:])
        assert np.array_equal(parts[1].drawn.pool.ids, batch.drawn.pool.ids[4:])
        assert np.array_equal(parts[1].drawn.clicked.row(0), batch.drawn.clicked.row(4))
        assert np.array_equal(parts[1].candidates.correction, batch.candidates.correction[4:])
    if batch.context is not None:
        assert np.array_equal(np.concatenate([part.context for part in parts]), batch.context)
        assert len(parts[0].context) == len(parts[0].events)


@pytest.mark.parametrize(("config", "log"), LOGS)
def test_shares_of_the_parts_sum_up_to_one(tmp_path, config, log, atol=1e-12):
    trainer, batch = batch_of(tmp_path, config, log)
    labels = trainer.objective.events.labels
    shares = [batch.part(groups).share_of(batch, labels) for groups in (slice(0, 4), slice(4, 11))]
    assert np.allclose(sum(shares), 1, atol=atol)


def test_a_batch_travels_without_its_key_index(tmp_path):
    trainer, batch = batch_of(tmp_path, *LOGS[0])
    assert batch.with_index(None).users.index is None
    again = batch.with_index(None).with_index(trainer.folds[0].index)
    assert again.users.index is again.inputs.index is trainer.folds[0].index
