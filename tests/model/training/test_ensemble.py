"""Weights of a stack's layers: the best ones for examples that no layer has met."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config.errors import ConfigError
from model.examples.key_index import key_index
from model.runs.warm_start import continued
from model.training.ensemble import LEAST, withhold
from tests.model.tiny_runs import STACK, TINY, trainer_of, weights_of
from tests.model.worlds import impressions, positives

SPARING = replace(STACK, lower_share=0.7, negatives=400, negative_pool=2000)


LOGS = {"positives": positives, "impressions": impressions}


@pytest.fixture(scope="module", params=LOGS)
def trained(request, tmp_path_factory):
    trainer = trainer_of(tmp_path_factory.mktemp(request.param), SPARING, LOGS[request.param]())
    trainer.fit()
    trainer.run.model.eval()
    return trainer


def spared_logits(trainer):
    """Served logits of all ads for every spared event: (N, 80, tasks)."""
    spared, data, known = trainer.ensemble.withheld, trainer.run.dataset, trainer.objective.clicks
    found = torch.zeros(len(spared), 80, len(data.spec.tasks), dtype=torch.float64)
    with torch.no_grad(), trainer.run.reader.using_nodes(trainer.run.nodes()):
        vectors = torch.from_numpy(trainer.run.reader.all_items())
        before = None if data.spec.negatives == "sampled" else spared.timestamps
        batch = trainer.run.reader.users(data.users.take(spared.users), known.histories(spared.users, before=before),
                                         key_index(data, known))
        rows = np.tile(np.arange(80), (len(spared), 1))
        found[:] = trainer.run.reader.score_items(batch, rows, vectors[rows]).double()
    return found


def loss_of(trainer, weights):
    """What the weights lose on the spared part, computed anew: against all ads, or by label; with the prior."""
    kept, spared = trainer.run.model.weights.clone(), trainer.ensemble.withheld
    clicked, total = trainer.run.clicks.by_user, 0.0
    trainer.run.model.weights.copy_(weights)
    for user, item, label, logits in zip(spared.users, spared.items, spared.labels, spared_logits(trainer),
                                         strict=True):
        if trainer.run.dataset.spec.negatives == "sampled":
            others = np.setdiff1d(np.arange(80), clicked.row(user))
            total += float((torch.logsumexp(logits[np.append(others, item)], 0) - logits[item]).sum())
        else:
            total += float(torch.nn.functional.softplus(logits[item] * torch.from_numpy(1 - 2 * label)).sum())
    trainer.run.model.weights.copy_(kept)
    return total / len(spared) + float(((weights - 0.5) ** 2 / torch.from_numpy(spared.labels.sum(0))).sum())


def test_no_other_weights_fit_the_withheld_part_better(trained, noise=2e-3):
    """The fit sees sampled negatives; against all ads its weights are still the best of those around them."""
    fitted = trained.run.model.weights.clone()
    best = loss_of(trained, fitted)
    for shift in ([[0.2], [0]], [[-0.2], [0]], [[0], [0.2]], [[0], [-0.2]], [[0.2], [-0.2]], [[-0.2], [0.2]]):
        assert loss_of(trained, (fitted + torch.tensor(shift)).clamp(LEAST)) > best - noise
    assert loss_of(trained, torch.full_like(fitted, 0.5)) > best + 10 * noise


def test_predictions_are_calibrated_on_the_withheld_part(trained, within=0.5):
    """As many clicks are foretold as there are, but for the prior: where the loss does not fall, its slope is this."""
    spared, intercept = trained.ensemble.withheld, trained.run.model.intercept
    if trained.run.dataset.spec.negatives == "sampled":  # a log of positives knows no rates
        assert torch.allclose(intercept, torch.zeros(1), atol=1e-5)
        return
    found = spared.labels.sum(0)
    foretold = torch.sigmoid(spared_logits(trained))[np.arange(len(spared)), spared.items].sum(0).numpy()
    assert np.abs(foretold - found + 2 * intercept.numpy() * len(spared) / found).max() < within


def test_a_useless_layer_gets_a_weight_near_zero(trained, at_most=0.05):
    """But it keeps the order of its nodes, by which the beam goes."""
    weights, intercept = trained.run.model.weights.clone(), trained.run.model.intercept.clone()
    head = trained.run.model.layer(0).over_arch.head.weight
    before = head.detach().clone()
    try:
        with torch.no_grad():
            head.copy_(100 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0)))
        trained.ensemble.fit(trained.run.nodes())
        noise, own = trained.run.model.weights.clone()
    finally:
        with torch.no_grad():
            head.copy_(before)
        trained.run.model.weights.copy_(weights)
        trained.run.model.intercept.copy_(intercept)
    assert float(noise.min()) > LEAST - 1e-6
    assert float(noise.max()) < at_most < float(own.min())


def test_the_layers_do_not_see_the_withheld_events(trained):
    objective, spared, whole = trained.objective, trained.ensemble.withheld, trained.run.dataset.train
    told, kept = (set(zip(part.users.tolist(), part.items.tolist(), strict=True))
                  for part in (objective.events, spared))
    assert not told & kept
    assert len(objective.events) + len(spared) == len(whole)
    clicked = objective.events.labels[:, 0] == 1
    assert np.array_equal(objective.clicks.rows, objective.events.items[clicked])
    assert trained.learner.users.clicks is objective.clicks
    assert len(objective.groups.events.values) == len(objective.events)
    assert len(trained.run.clicks.rows) == int(whole.labels[:, 0].sum())  # serving knows all of them


def test_the_log_reports_the_weights(trained):
    entries = [json.loads(line) for line in (trained.run.folder.path / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in entries if "ensemble_weights" in entry][SPARING.rounds - 1]
    assert np.allclose(last["ensemble_weights"], trained.run.model.weights)
    assert np.allclose(last["intercept"], trained.run.model.intercept)
    assert last["examples"] == len(trained.ensemble.withheld)


def test_ctrl_c_in_the_last_fit_leaves_weights_to_fit(tmp_path, monkeypatch):
    config = replace(STACK, epochs=0, rounds=1)
    whole = trainer_of(tmp_path / "whole", config)
    whole.fit()
    broken = trainer_of(tmp_path / "broken", config)

    def interrupted(nodes):
        raise KeyboardInterrupt

    monkeypatch.setattr(broken.ensemble, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    resumed = trainer_of(tmp_path / "broken", config)
    resumed.resume()
    resumed.fit()
    assert resumed.progress.epoch == resumed.schedule.epochs
    for name, tensor in weights_of(whole.run).items():
        assert torch.allclose(weights_of(resumed.run)[name], tensor, atol=1e-6), name


def pairs_of(dataset, events):
    return set(zip(dataset.user_ids[events.users].tolist(), dataset.encoder.item_ids[events.items].tolist(),
                   strict=True))


def test_a_pair_is_withheld_regardless_of_other_users():
    whole = positives(users=200)
    fewer = np.isin(whole.train.users, np.arange(0, 200, 3))
    ids = whole.user_ids[np.unique(whole.train.users[fewer])]
    rows = np.searchsorted(ids, whole.user_ids[whole.train.users[fewer]]).astype(np.int32)
    part = replace(whole, user_ids=ids, train=replace(whole.train.where(fewer), users=rows))
    for share in (0.5, 0.9):
        (own, spared), (of_whole, spared_of_whole) = withhold(part, share), withhold(whole, share)
        assert pairs_of(part, own) <= pairs_of(whole, of_whole)
        assert pairs_of(part, spared) <= pairs_of(whole, spared_of_whole)
        assert len(own) + len(spared) == len(part.train)


def test_all_events_of_a_pair_go_together():
    data = positives()
    twice = replace(data, train=data.train.where(np.repeat(np.arange(len(data.train)), 2)))
    layers, spared = withhold(twice, 0.6)
    assert not pairs_of(twice, layers) & pairs_of(twice, spared)
    assert len(layers) + len(spared) == len(twice.train)


def test_the_share_is_that_of_the_layers():
    data = positives(users=2000, items=800)
    assert len(withhold(data, 0.9)[0]) / len(data.train) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(("share", "purpose"), [(1e-9, "for the layers to learn from"),
                                                (1 - 1e-9, "to fit their weights on")])
def test_a_log_too_short_for_its_share_is_refused(share, purpose):
    with pytest.raises(ConfigError, match=rf"of 360 events leaves no positive {purpose}; a stack needs a longer log"):
        withhold(positives(), share)


def test_a_run_that_starts_from_a_stack_withholds_the_same_events(trained):
    assert continued(TINY, trained.run.folder.path).lower_share == SPARING.lower_share
    with pytest.raises(ConfigError, match=r"lower_share is 0.5, but .* has 0.7"):
        continued(replace(STACK, lower_share=0.5), trained.run.folder.path)
