"""Training on tiny logs: it learns what was planted, resumes to the bit, and stops with a usable checkpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.features.spectral import RELATIVE_FACTOR, SPECTRAL_FEATURES
from model.config.errors import ConfigError
from model.examples.batches import spectral_towers_of
from model.network.monn import START
from tests.model.tiny_runs import TINY, interrupted_and_resumed, recall_of, trainer_of, weights_of
from tests.model.worlds import impressions


def test_training_finds_the_planted_category(learned_run, at_least=0.9):
    # Each user has 10 ads of the right category, 6 of them masked: the held-out one is among the 4 left.
    assert recall_of(learned_run, 4) > at_least
    assert learned_run.tree.codes.shape == (80, 2)


@pytest.mark.parametrize("stop_at", [(0, 3), (1, 0)], ids=["before-the-tree", "at-the-tree"])
def test_a_run_that_was_interrupted_ends_where_it_would_have_ended(tmp_path, tiny_run, stop_at):
    resumed = interrupted_and_resumed(tmp_path, stop_at).run
    assert np.array_equal(resumed.tree.codes, tiny_run.tree.codes)
    expected = weights_of(tiny_run)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_that_was_interrupted_within_a_round_keeps_its_tree(tmp_path, tiny_run, at_least=0.9):
    resumed = interrupted_and_resumed(tmp_path, (1, 5)).run
    assert np.array_equal(resumed.tree.codes, tiny_run.tree.codes)
    assert recall_of(resumed, 4) > at_least


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer._epoch(0)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with torch.no_grad():
        trainer.run.model.layer(-1).over_arch.head.weight[0, 0] = float("nan")
    with pytest.raises(ConfigError, match=r"the loss is nan at epoch 2, batch 1; .*resume with a lower learning rate"):
        trainer.fit()
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_the_log_holds_loss_and_entropy_of_every_epoch(tiny_run):
    entries = [json.loads(line) for line in (tiny_run.folder.path / "log.jsonl").read_text().splitlines()]
    ends = [e for e in entries if "seconds" in e and "loss_items" in e]
    assert [e["epoch"] for e in ends] == [1, 2]
    assert all(0 < e["train_sampled_ne"] < 1.5 for e in ends)
    assert all(np.isfinite(e["loss_items"]) for e in entries if "loss_items" in e)
    assert [len(e["tree"]) for e in entries if "tree" in e] == [2]


@pytest.mark.parametrize("label", [0, 1])
def test_a_task_with_labels_of_one_class_is_logged_as_json(tmp_path, capsys, label):
    log = impressions()
    log.train.labels[:, 1] = label
    trainer_of(tmp_path, data=log).fit()
    said = capsys.readouterr()
    told = said.out + said.err
    assert "ne_purchase undefined" in told
    assert "nan" not in told.lower()
    entries = [json.loads(line, parse_constant=pytest.fail)
               for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    ends = [entry for entry in entries if "seconds" in entry and "loss_items" in entry]
    assert [entry["ne_purchase"] for entry in ends] == [None, None]
    assert all(entry["ne_click"] > 0 for entry in ends)


def test_new_two_towers_of_positives_rank_by_the_spectral_product(tmp_path):
    run = trainer_of(tmp_path, replace(TINY, model=replace(TINY.model, over_arch="dot"))).run
    users, rows = np.arange(20), np.arange(len(run.dataset.items))
    with torch.no_grad():
        run.model.layer(-1).over_arch.weight.zero_()
        batch = run.reader.users(run.dataset.users.take(users), run.clicks.histories(users), run.key_index)
        scores = run.reader.score_items(batch, rows, run.reader.items(rows))[..., 0].numpy()
    products = batch.spectral.features(spectral_towers_of(run.key_index).items, rows)
    products = products[..., SPECTRAL_FEATURES.index("spectral.full")]
    assert products.any()
    np.testing.assert_allclose(scores, START * np.expm1(products) / RELATIVE_FACTOR, rtol=1e-3, atol=1e-3)


def test_nodes_are_scored_as_items_are_until_an_epoch_learns_from_them(tmp_path):
    trainer = trainer_of(tmp_path / "run", replace(TINY, epochs=1, rounds=1, tree="posthoc"))
    trainer.fit()
    items, nodes = (scorer.state_dict() for scorer in reversed(trainer.run.model.scorers))
    assert all(torch.equal(items[name], value) for name, value in nodes.items())
    learned = trainer_of(tmp_path / "em", replace(TINY, epochs=1, rounds=1))
    learned.fit()
    items, nodes = (scorer.state_dict() for scorer in reversed(learned.run.model.scorers))
    assert not torch.equal(items["over_arch.bias"], nodes["over_arch.bias"])
