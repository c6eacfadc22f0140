"""Training on tiny logs: it learns what was planted, resumes to the bit, and stops with a usable checkpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.features.ragged import Ragged
from model.config import ConfigError, MoNNConfig, TrainConfig
from model.evaluation.recall import recall
from model.examples.moments import Clicks, key_index
from model.training.checkpoint import RunFolder
from model.training.normalized_entropy import NormalizedEntropy
from model.training.trainer import Trainer, hold_out
from tests.model.worlds import positives

TINY = TrainConfig(model=MoNNConfig(table_width=8, user_hidden=(16,), item_hidden=(16,), pair_hidden=(8,), dim=4),
                   branching=(4, 3), epochs=1, rounds=1, round_epochs=1, batch_users=16, negatives=24,
                   negative_pool=200)


def trainer_of(folder, config=TINY, data=None):
    run = RunFolder(folder)
    if not (folder / "config.json").exists():
        run.create(config, folder)
    return Trainer(data or positives(), config, run)


def weights_of(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def recall_of(trainer, k):
    data, clicks = trainer.dataset, trainer.clicks
    trainer.model.eval()
    users = np.arange(len(data.user_ids))
    first = np.searchsorted(data.test.users, np.arange(len(users) + 1)).astype(np.int64)
    found = recall(trainer.reader, clicks, trainer.everyone, users, Ragged(first, data.test.items),
                   Ragged(clicks.indptr, clicks.rows), (k,))
    return found[f"recall@{k}"]


def test_training_finds_the_planted_category(tmp_path, at_least=0.9):
    trainer = trainer_of(tmp_path, replace(TINY, epochs=4))
    trainer.fit()
    # Each user has 10 ads of the right category, 6 of them masked: the held-out one is among the 4 left.
    assert recall_of(trainer, 4) > at_least
    assert trainer.learner.codes.shape == (80, 2)


def interrupted_and_resumed(folder, stop_at):
    """A run that got Ctrl-C at (epoch, batch), then went on to its end."""
    broken = trainer_of(folder)
    step = broken._step

    def interrupted(epoch, batch, *rest):
        if (epoch, batch) == stop_at:
            raise KeyboardInterrupt
        return step(epoch, batch, *rest)

    broken._step = interrupted
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    resumed = trainer_of(folder)
    resumed.resume()
    assert (resumed.progress.epoch, resumed.progress.batch) == stop_at
    resumed.fit()
    return resumed


@pytest.mark.parametrize("stop_at", [(0, 3), (1, 0)], ids=["before-the-tree", "at-the-tree"])
def test_a_run_that_was_interrupted_ends_where_it_would_have_ended(tmp_path, stop_at):
    whole = trainer_of(tmp_path / "whole")
    whole.fit()
    resumed = interrupted_and_resumed(tmp_path / "broken", stop_at)
    assert np.array_equal(resumed.learner.codes, whole.learner.codes)
    expected = weights_of(whole)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_that_was_interrupted_within_a_round_keeps_its_tree(tmp_path, at_least=0.9):
    whole = trainer_of(tmp_path / "whole")
    whole.fit()
    resumed = interrupted_and_resumed(tmp_path / "broken", (1, 5))
    assert np.array_equal(resumed.learner.codes, whole.learner.codes)
    assert recall_of(resumed, 4) > at_least


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer._epoch(0)
    before = (tmp_path / "weights.safetensors").read_bytes()
    with torch.no_grad():
        trainer.model.layer(-1).over_arch.head.weight[0, 0] = float("nan")
    with pytest.raises(ConfigError, match=r"the loss is nan at epoch 2, batch 1; .*resume with a lower learning rate"):
        trainer.fit()
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_the_log_holds_loss_and_entropy_of_every_epoch(tmp_path):
    trainer_of(tmp_path).fit()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    ends = [e for e in entries if "seconds" in e and "loss" in e]
    assert [e["epoch"] for e in ends] == [1, 2]
    assert all(0 < e["train_sampled_ne"] < 1.5 for e in ends)
    assert all(np.isfinite(e["loss"]) for e in entries if "loss" in e)
    assert [len(e["tree"]) for e in entries if "tree" in e] == [2]


def test_an_existing_run_is_not_overwritten(tmp_path):
    RunFolder(tmp_path).create(TINY, tmp_path)
    trainer_of(tmp_path)._save()
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        RunFolder(tmp_path).create(TINY, tmp_path)


def test_a_run_that_stopped_before_its_first_checkpoint_can_be_started_again(tmp_path):
    RunFolder(tmp_path).create(TINY, tmp_path)
    RunFolder(tmp_path).create(replace(TINY, seed=5), tmp_path)
    assert RunFolder(tmp_path).config()[0].seed == 5


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    trainer_of(tmp_path)._save()
    other = replace(TINY, model=replace(TINY.model, dim=8))
    with pytest.raises(ConfigError, match="belongs to another model"):
        Trainer(positives(), other, RunFolder(tmp_path)).resume()


def test_config_survives_the_run_folder(tmp_path):
    RunFolder(tmp_path).create(TINY, tmp_path / "data")
    assert RunFolder(tmp_path).config() == (TINY, tmp_path / "data")


def test_held_out_events_leave_the_train_set():
    data = positives()
    cut = hold_out(data, 0.25, seed=1)
    pairs = [set(zip(e.users.tolist(), e.items.tolist(), strict=True)) for e in (cut.train, cut.test, data.train)]
    assert pairs[0] | pairs[1] == pairs[2]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == pytest.approx(0.25 * len(pairs[2]), rel=0.3)


def test_entropy_of_a_guess_at_the_base_rate_is_one(tolerance=1e-6):
    labels = np.array([[1.0], [0.0], [0.0], [0.0]], np.float32)
    entropy = NormalizedEntropy(1)
    entropy.add(np.full((4, 1), np.log(1 / 3), np.float32), labels)
    assert entropy.values()[0] == pytest.approx(1.0, abs=tolerance)


def test_entropy_clips_a_confident_mistake():
    entropy = NormalizedEntropy(1)
    entropy.add(np.array([[-1e9], [0.0]], np.float32), np.array([[1.0], [0.0]], np.float32))
    assert entropy.values()[0] == pytest.approx((-np.log(1e-7) + np.log(2)) / 2 / np.log(2), rel=1e-6)


def test_counts_use_the_clicks_of_others_only():
    data = positives()
    clicks = Clicks.of(data.train, 60)
    alone = key_index(data, clicks, np.array([0]))
    counted = alone.reach.values[alone.reach.indptr[alone.source_starts[1]]:] - alone.starts[1]
    assert len(counted) == 6 * 5
    assert set(counted - 1) == set(clicks.rows[:6].tolist())
