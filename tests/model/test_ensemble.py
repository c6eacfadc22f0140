"""Weights of a stack's layers: the best ones for examples that no layer has met."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from index_store.features import FeatureEncoder
from index_store.ragged import Ragged
from model.config import ConfigError
from model.data.load import Events
from model.ensemble import LEAST, spare
from model.examples import Clicks
from tests.model.test_stack import STACK
from tests.model.test_training import trainer_of
from tests.model.worlds import positives

SPARING = replace(STACK, lower_share=0.7, negatives=400, negative_pool=2000)


def impressions():
    """The clicks of `positives` in the order of their times, each followed by an impression of another category."""
    data = positives()
    users = np.repeat(data.train.users, 2)
    items = np.stack([data.train.items, (data.train.items + 3) % len(data.items)], axis=1).reshape(-1)
    clicked = np.tile(np.array([[1], [0]], np.int8), (len(data.train), 1))
    log = Events(users, items.astype(np.int32), np.arange(len(users), dtype=np.int64), clicked)
    spec = replace(data.spec, negatives="impressions", history_ordered=True)
    encoder = FeatureEncoder(spec, data.encoder.vocabularies, {}, data.encoder.item_ids)
    return replace(data, spec=spec, encoder=encoder, train=log)


LOGS = {"positives": positives, "impressions": impressions}


@pytest.fixture(scope="module", params=LOGS)
def trained(request, tmp_path_factory):
    trainer = trainer_of(tmp_path_factory.mktemp(request.param), SPARING, LOGS[request.param]())
    trainer.fit()
    trainer.model.eval()
    return trainer


def loss_of(trainer, weights):
    """What the weights lose on the spared part, by the served score: against all items, or by label; computed anew."""
    spared, data = trainer.ensemble.spared, trainer.dataset
    known, liked = trainer.objective.clicks, Ragged(trainer.clicks.indptr, trainer.clicks.rows)
    kept, total = trainer.model.weights.clone(), float(((weights - 0.5) ** 2).sum())  # the prior's
    trainer.model.weights.copy_(weights)
    with torch.no_grad(), trainer.reader.through(trainer.learner.nodes()):
        vectors = torch.from_numpy(trainer.reader.all_items())
        for user, item, time, label in zip(spared.users, spared.items, spared.timestamps, spared.labels[:, 0],
                                           strict=True):
            one, before = np.array([user]), None if data.spec.negatives == "sampled" else np.array([time])
            batch = trainer.reader.users(data.users.take(one), known.histories(one, 50, before=before),
                                         trainer.folds[trainer.fold[user]])
            logits = trainer.reader.score_items(batch, np.arange(80)[None], vectors[None])[0, :, 0].double()
            if data.spec.negatives == "sampled":
                others = np.setdiff1d(np.arange(80), liked.row(user))
                total += float(torch.logsumexp(logits[np.append(others, item)], 0) - logits[item])
            else:
                total += float(torch.nn.functional.softplus(-logits[item] if label else logits[item]))
    trainer.model.weights.copy_(kept)
    return total / len(spared)


def test_no_other_weights_serve_the_spared_part_better(trained, noise=2e-3):
    """The fit sees sampled negatives; against all ads its weights are still the best of those around them."""
    fitted = trained.model.weights.clone()
    best = loss_of(trained, fitted)
    for shift in ([[0.2], [0]], [[-0.2], [0]], [[0], [0.2]], [[0], [-0.2]], [[0.2], [-0.2]], [[-0.2], [0.2]]):
        assert loss_of(trained, (fitted + torch.tensor(shift)).clamp(LEAST)) > best - noise
    assert loss_of(trained, torch.full_like(fitted, 0.5)) > best - noise


def test_a_layer_that_knows_nothing_weighs_next_to_nothing(trained, at_most=0.05):
    """But it keeps the order of its nodes, by which the beam goes."""
    fitted, head = trained.model.weights.clone(), trained.model.layer(0).over_arch.head.weight
    before = head.detach().clone()
    with torch.no_grad():
        head.copy_(100 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0)))
    trained.ensemble.fit(trained.learner.nodes())
    with torch.no_grad():
        head.copy_(before)
    found = trained.model.weights[:, 0].tolist()
    trained.model.weights.copy_(fitted)
    assert LEAST - 1e-6 < found[0] < at_most < found[1]


def test_the_layers_know_nothing_of_what_weighs_them(trained):
    objective, spared, whole = trained.objective, trained.ensemble.spared, trained.dataset.train
    told, kept = (set(zip(part.users.tolist(), part.items.tolist(), strict=True))
                  for part in (objective.events, spared))
    assert not told & kept
    assert len(objective.events) + len(spared) == len(whole)
    clicked = objective.events.labels[:, 0] == 1
    assert np.array_equal(objective.clicks.rows, objective.events.items[clicked])
    assert len(objective.moments.events.values) == len(objective.events)
    assert len(trained.clicks.rows) == int(whole.labels[:, 0].sum())  # serving knows all of them


def test_the_log_tells_the_weights(trained):
    entries = [json.loads(line) for line in (trained.run.path / "log.jsonl").read_text().splitlines()]
    found = [entry for entry in entries if "ensemble_weights" in entry]
    last = found[SPARING.rounds - 1]
    assert np.allclose(last["ensemble_weights"], trained.model.weights)
    assert last["examples"] == len(trained.ensemble.spared)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 9)), min_size=40, max_size=80),
       st.floats(0.3, 0.7), st.integers(0, 9))
def test_a_pair_goes_to_one_part_with_all_its_events(rows, share, seed):
    users, items, times = (np.array(column) for column in zip(*sorted(rows), strict=True))
    log = Events(users.astype(np.int32), items.astype(np.int32), times.astype(np.int64),
                 np.ones((len(users), 1), np.int8))
    try:
        layers, spared = spare(log, share, seed)
    except ConfigError:  # by chance, of the few pairs that there are
        return
    assert sorted([*zip(*astuple(layers), strict=True), *zip(*astuple(spared), strict=True)]) == sorted(rows)
    assert not set(zip(layers.users, layers.items, strict=True)) & set(zip(spared.users, spared.items, strict=True))
    assert (np.diff(layers.users) >= 0).all()


def astuple(log):
    return log.users.tolist(), log.items.tolist(), log.timestamps.tolist()


def test_the_share_is_that_of_the_layers():
    log = positives(users=2000, items=800).train
    layers, _ = spare(log, 0.9, 0)
    assert len(layers) / len(log) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(("share", "purpose"), [(1e-9, "for the layers to learn from"),
                                                (1 - 1e-9, "to weigh the layers by")])
def test_a_log_too_short_for_its_share_is_refused(share, purpose):
    with pytest.raises(ConfigError, match=rf"of 360 pairs of a user and an ad leaves no positive {purpose}"):
        spare(positives().train, share, 0)


def test_clicks_of_the_layers_are_those_of_the_whole_log_without_the_spared_ones():
    log = positives().train
    layers, spared = spare(log, 0.5, 3)
    whole, known, rest = (Clicks.of(part, 60) for part in (log, layers, spared))
    assert np.array_equal(np.diff(whole.indptr), np.diff(known.indptr) + np.diff(rest.indptr))
