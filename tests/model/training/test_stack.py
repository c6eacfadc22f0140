"""Stacked MoNN (Section 4.6): each layer learns, the ensemble is what is served, and bad stacks are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.bundle.bundle import Bundle
from index_store.features.spectral import SPECTRAL_FEATURES
from model.config.monn import StackedLayer
from model.evaluation.quality import quality
from model.export.seal import export
from model.runs.checkpoint import RunFolder
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from tests.model.commands import here, model
from tests.model.tiny_runs import (
    LARGER,
    STACK,
    TINY,
    golden_answers_of,
    interrupted_and_resumed,
    recall_of,
    trained_run,
    trainer_of,
    weights_of,
)

DEEP = replace(STACK, stack=(StackedLayer(1, LARGER), StackedLayer(2, replace(LARGER, layers=1, item_tokens=3))))
DEEPER = replace(STACK, branching=(3, 2, 2), stack=(StackedLayer(2, LARGER),))
"""Its layer for level 2 also ranks the nodes of level 1, and the items' layer those of level 3."""
OVER_TOWERS = replace(STACK, model=replace(TINY.model, over_arch="dot"))


def ensemble_by_hand(run, user, row):
    """The intercept and over all layers weight x logit of the user with the item, or with the mean of its node."""
    model, reader, codes = run.model, run.reader, run.tree.codes
    one = np.array([user])
    batch = reader.users(reader.dataset.users.take(one), run.clicks.histories(one), run.key_index)
    vectors, total = torch.from_numpy(reader.all_items()), float(model.intercept[0])
    for at in range(len(model.layers)):
        if at < len(model.ensemble):
            level = model.ensemble[at]
            members = np.flatnonzero((codes[:, :level] == codes[row, :level]).all(axis=1))
            embedding = vectors[members].mean(0) + model.level_offsets[level - 1]
        else:
            members, embedding = np.array([row]), vectors[row]
        features = reader.tensor(reader.features(batch, members).max(axis=1, keepdims=True))
        mean = run.key_index.spectral.items.means(members, np.array([0]))
        features[0, 0, -len(SPECTRAL_FEATURES):] = torch.from_numpy(batch.spectral.features(mean, np.array([0])))
        own = model.layer(at).score(model.users_of(at, batch.embeddings), model.items_of(at, embedding[None, None]),
                                    features)
        total += float((model.weights[at] * own)[0, 0, 0])
    return total


@pytest.mark.parametrize(("config", "at_least"), [(DEEP, 0.9), (DEEPER, 0.9), (OVER_TOWERS, 0)],
                         ids=["three", "steering", "over-towers"])
def test_a_stack_learns_exports_and_serves_its_ensemble(tmp_path, config, at_least, tolerance=1e-4):
    """Two towers that see a user ten times cannot tell ads apart; their stack has to be served right all the same."""
    run = trained_run(tmp_path / "run", config)
    with run.reader.using_nodes(run.nodes()):
        assert recall_of(run, 4) >= at_least
    manifest = export(run, tmp_path / "bundle", {}, half=False)  # refuses a parity above 1e-4
    depth, own = len(config.branching) + 1, [layer.level for layer in config.stack]
    assert [level.level for level in manifest.levels if level.ensemble] == [*own, depth]
    assert manifest.scorers == tuple(f"scorer_{at}.onnx" for at in range(1, len(own) + 2))
    found = golden_answers_of(tmp_path / "bundle")
    assert all(answer.ads and answer.problem is None and answer.difference <= tolerance for answer in found)
    retriever = Retriever(Bundle.open(tmp_path / "bundle"))
    try:
        for user, row in ((3, 11), (17, 40), (58, 79)):
            ids = run.dataset.user_ids[user].decode(), run.dataset.encoder.item_ids[row].decode()
            query = Query(user_id=ids[0].encode(), top_k=1, exact=True, task_weights=np.ones(1, np.float32))
            score = float(retriever.score_ads(query, [ids[1]])[0])
            with torch.no_grad():
                assert score == pytest.approx(ensemble_by_hand(run, user, row), abs=tolerance)
    finally:
        retriever.close()


def test_a_joint_tree_carries_a_stack_too(tmp_path, at_least=0.9):
    run = trained_run(tmp_path / "run", replace(STACK, tree="joint"))
    with run.reader.using_nodes(run.nodes()):
        assert recall_of(run, 4) > at_least
    assert export(run, tmp_path / "bundle", {}).ensemble == (1,)


def test_every_layer_is_trained_and_its_weight_fitted(tmp_path):
    trainer = trainer_of(tmp_path, replace(STACK, epochs=0, rounds=1))
    before = weights_of(trainer.run)
    trainer.fit()
    after = weights_of(trainer.run)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    for name in ("layers.0.item_tower.layers.1.weight", "layers.0.user_tower.layers.1.weight",
                 "layers.0.interaction_tower.hidden.0.weight", "layers.1.item_tower.layers.1.weight", "weights"):
        assert name in moved


def test_a_stack_resumes_to_the_bit_between_epochs(tmp_path):
    config = replace(STACK, epochs=1, rounds=1)
    whole = trainer_of(tmp_path / "whole", config)
    whole.fit()
    broken = trainer_of(tmp_path / "broken", config)
    broken._epoch(0)
    resumed = trainer_of(tmp_path / "broken", config)
    resumed.resume()
    resumed.fit()
    assert all(torch.equal(tensor, weights_of(resumed.run)[name]) for name, tensor in weights_of(whole.run).items())


def test_an_interrupted_stack_goes_on(tmp_path):
    resumed = interrupted_and_resumed(tmp_path, (1, 2), replace(STACK, epochs=1, rounds=1))
    assert resumed.progress.epoch == resumed.schedule.epochs == 2


def test_the_commands_train_evaluate_and_export_a_stack(tmp_path):
    model("data", "synthetic", "--ads", 100, "--users", 100, "--events", 2000, "--out", tmp_path / "data")
    said = model("train", "--data", tmp_path / "data", "--out", tmp_path / "run", "--stack", "medium@1",
                   "--branching", "6x4", "--epochs", 1, "--rounds", 1, "--batch-users", 128)
    assert "trained" in said
    config, _ = RunFolder(tmp_path / "run").config()
    assert [layer.level for layer in config.stack] == [1]
    quality = json.loads(model("evaluate", "--run", tmp_path / "run", "--users", 50,
                               "--baselines", "none").splitlines()[-1])
    assert 0 < quality["ne"]["click"] < 1.2
    model("export", "--run", tmp_path / "run", "--out", tmp_path / "bundle", "--users", 50,
          "--baselines", "none")
    assert here("service", tmp_path / "bundle", "--check").count("ok") >= 10


def test_measuring_a_stack_leaves_its_reader_as_it_was(tmp_path):
    run = trained_run(tmp_path, replace(STACK, epochs=0, rounds=1, holdout=0.2))
    assert "sampled_ne" in quality(run, 0)
    assert run.reader.nodes is None
