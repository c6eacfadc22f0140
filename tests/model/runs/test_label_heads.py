"""Zipper in training: heads of windows, what they start from, and that one window alone is training as before."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.bundle.bundle import Bundle
from model.config.errors import ConfigError
from model.config.monn import StackedLayer
from model.data.load import load_dataset
from model.export.seal import export
from model.network.folding import FoldedNetwork
from model.runs.label_heads import base_rates, window_targets
from model.runs.run import Run
from model.sources import synthetic_days
from model.training.trainer import train
from tests.model.data.late_labels import late, targets_of
from tests.model.tiny_runs import LARGER, TINY, run_of, trainer_of, weights_of
from tests.model.worlds import impressions

ONE_EPOCH = replace(TINY, epochs=1, rounds=1, round_epochs=1)


def test_a_log_without_windows_has_no_targets():
    data = impressions()
    assert window_targets(data, data.train) is None
    np.testing.assert_array_equal(base_rates(data), data.train.labels.mean(axis=0))


def test_a_log_whose_events_are_all_newer_has_no_rates():
    data = late((10, 20, 40))
    empty = replace(data, train=data.train.where(data.train.timestamps < 0))
    assert base_rates(empty).tolist() == [0.0] * 4


def test_biases_start_at_the_rate_of_each_window(tmp_path):
    data = late((10, 20, 40))
    bias = run_of(tmp_path, data=data).model.layer(-1).over_arch.bias
    assert torch.sigmoid(bias).tolist() == pytest.approx(targets_of(data).rates().tolist(), rel=1e-4)


def test_a_single_window_that_has_closed_for_all_rows_trains_the_same_weights_as_none(tmp_path):
    data = late((40,), delay=lambda rows: rows * 0)
    data = replace(data, windows=replace(data.windows, now=10**6))
    weights = []
    for name, log in (("with", data), ("without", impressions())):
        trainer = trainer_of(tmp_path / name, ONE_EPOCH, data=log)
        trainer.fit()
        weights.append(weights_of(trainer.run))
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_each_head_learns_the_rate_of_its_window_and_only_the_longest_is_served(tmp_path):
    data = late((10, 40), delay=lambda rows: rows % 50)
    trainer = trainer_of(tmp_path, replace(ONE_EPOCH, epochs=6), data=data)
    trainer.fit()
    model, log, reader = trainer.run.model, data.train, trainer.run.reader
    rows = np.arange(0, len(log), 7)
    with torch.no_grad():
        users = reader.users(data.users.take(log.users[rows]), trainer.run.clicks.histories(log.users[rows]),
                             trainer.run.key_index)
        items = reader.items(log.items[rows][:, None])
        features = reader.tensor(reader.features(users, log.items[rows][:, None].astype(np.int64)))
        every = model.score(users.embeddings, items, features, windows=True)
        main = model.score(users.embeddings, items, features)
        served = FoldedNetwork(model)
        folded = served.scorers[-1](served.user_part(users.embeddings[:1]), served.item_part(items[0]), features[0])
    assert every.shape[2] == 3
    torch.testing.assert_close(every[..., :2], main)
    torch.testing.assert_close(folded, main[0], atol=1e-4, rtol=1e-4)
    ten, forty = (torch.sigmoid(every[:, 0, column]).mean().item() for column in (2, 1))
    assert ten < 0.7 * forty


def test_a_log_with_late_labels_is_trained_and_exported_as_any_other(tmp_path):
    data = tmp_path / "data"
    synthetic_days.write(data, 120, 80, 3_000, 5, 1, 0.05)
    declared = json.loads((data / "features.json").read_text())
    declared["tasks"][1] |= {"windows": [1, 24], "time": "conversion_at"}
    (data / "features.json").write_text(json.dumps(declared))
    run = train(data, load_dataset(data), replace(ONE_EPOCH, batch_users=64), tmp_path / "run", resume=False)
    assert run.model.layer(-1).over_arch.bias.shape == (3,)
    export(Run.open(tmp_path / "run"), tmp_path / "bundle", {})  # which compares its scores with those of the model
    opened = Bundle.open(tmp_path / "bundle")
    assert opened.manifest.tasks == ("click", "conversion")
    assert opened.content.encoder.spec == run.dataset.spec.served
    assert "windows" not in (tmp_path / "bundle" / "features.json").read_text()


def test_a_window_longer_than_the_log_is_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match="the longest window of task purchase has 1 hours, but the train events span"):
        trainer_of(tmp_path, data=late((10, 3600)))


def test_a_stack_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a stack cannot learn labels of several attribution windows"):
        trainer_of(tmp_path, replace(TINY, stack=(StackedLayer(1, LARGER),)), data=late((10, 40)))
