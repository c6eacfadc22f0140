"""The joint index: codebooks alone on planted vectors, then whole runs that train, export and serve."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.bundle.bundle import Bundle
from model.config import ConfigError, HillConfig
from model.export.seal import export
from model.tree.codebooks import Attended, Codebooks, check_collapse
from model.tree.health import LevelHealth
from model.tree.k_means import dense, learn_codes
from tests.model.training.test_trainer import TINY, recall_of, trainer_of, weights_of
from tests.model.tree.test_k_means import planted
from tests.model.worlds import positives

PLAIN = HillConfig()
JOINT = replace(TINY, tree="joint", rounds=2)


def started(vectors, branching, config=PLAIN, noise=0.0):
    """Codebooks at the k-means of vectors that are all profile, and what they read."""
    books = Codebooks(branching, len(vectors), 2, vectors.shape[1], config)
    read = books.start(torch.zeros(len(vectors), 2), torch.from_numpy(vectors))
    codes = dense(learn_codes(vectors, branching, 0, shared=config.codebooks == "shared"),
                  shared=config.codebooks == "shared")
    books.start_at(read, codes)
    with torch.no_grad():
        for table in books.tables:
            table += noise * torch.randn(table.shape, generator=torch.Generator().manual_seed(0))
    return books, read, codes


def same_groups(codes, truth):
    _, prefix = np.unique(codes, axis=0, return_inverse=True)
    return np.unique(np.stack([prefix, truth]), axis=1).shape[1] == len(np.unique(truth)) == len(np.unique(prefix))


def fitted(books, read, steps=300):
    """Minimises the index's own penalty while the attention sharpens."""
    optimizer = torch.optim.Adam(books.parameters(), lr=0.05)
    for step in range(steps):
        books.progress = step / steps
        optimizer.zero_grad()
        books.penalty(read, books.attend(read, books.levels)).backward()
        optimizer.step()
    return books


def test_codes_follow_planted_groups_after_they_were_disturbed(noise=0.8):
    vectors, group, subgroup = planted(4, 3, 5)
    books, read, _ = started(vectors, (4, 3), noise=noise)
    codes, _ = fitted(books, read).snapshot(read)
    assert same_groups(codes[:, :1], group)
    assert same_groups(codes, subgroup)


def test_shared_codes_find_a_product_of_two_choices():
    first, second = np.divmod(np.arange(60) % 12, 4)
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(3, 8)) * 20)[first] + (rng.normal(size=(4, 8)) * 2)[second] + rng.normal(
        size=(60, 8)) * 0.01
    books, read, _ = started(vectors.astype(np.float32), (3, 4), HillConfig(codebooks="shared"))
    codes, _ = fitted(books, read).snapshot(read)
    assert same_groups(codes[:, :1], first)
    assert same_groups(codes, np.arange(60) % 12)


def test_soft_assignment_becomes_the_hard_one_as_it_sharpens(tolerance=1e-4):
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    books, read, _ = started(vectors, (6, 4), HillConfig(sharpness=(0.5, 1e5)))
    gaps = []
    for progress in (0.0, 0.0001, 1.0):
        books.progress = progress
        gaps.append(books.snapshot(read)[1])
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01  # an item in the very middle of two codes stays soft
    weights = books.attend(read, 2).choices[0][1]
    assert torch.allclose(weights.sum(1), torch.ones(200), atol=tolerance)


@pytest.mark.parametrize("codebooks", ["parent", "shared"])
def test_virtual_embeddings_are_the_sums_of_the_codes_above(codebooks, tolerance=1e-5):
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    books = Codebooks((3, 2), 50, 4, 4, HillConfig(codebooks=codebooks))
    read = books.start(torch.from_numpy(vectors), torch.from_numpy(vectors))
    codes = dense(learn_codes(read.numpy(), (3, 2), 0, shared=codebooks == "shared"), shared=codebooks == "shared")
    books.start_at(read, codes)
    for level in (1, 2):
        found = books.node_embeddings(codes, level).detach().numpy()
        if codebooks == "parent":  # residual means add up to the mean of the members
            _, prefix = np.unique(codes[:, :level], axis=0, return_inverse=True)
            expected = np.stack([vectors[prefix == p].mean(0) for p in prefix])
            assert np.allclose(found, expected, atol=tolerance)
        rows = books.rows_of(codes)
        total = sum(books.tables[at][rows[at]] for at in range(level))
        assert np.allclose(found, books.item_space(total).detach().numpy(), atol=tolerance)


def test_flops_regulariser_is_the_squared_mean_usage_of_the_pooled_batches(tolerance=1e-6):
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    books, read, _ = started(vectors, (5,), HillConfig(reconstruction_weight=0.0, balance_weight=1.0, pooled_batches=2))
    attended = [books.attend(read[part], 1) for part in (slice(0, 10), slice(10, 20), slice(20, 40))]
    usage = [a.choices[0][1].mean(0) for a in attended]
    found = [books.penalty(read[:len(a.quantized)], a).item() for a in attended]
    pooled = [usage[0], (usage[0] + usage[1]) / 2, (usage[1] + usage[2]) / 2]
    assert found == pytest.approx([5 * (p**2).sum().item() for p in pooled], abs=tolerance)
    even = Attended(torch.zeros(5, 6), [(torch.arange(5), torch.eye(5))])
    fresh, _, _ = started(vectors, (5,), HillConfig(reconstruction_weight=0.0, balance_weight=1.0))
    assert float(fresh.penalty(torch.zeros(5, 6), even)) == pytest.approx(1.0, abs=tolerance)


def test_a_collapsed_level_is_named():
    healthy, crowded = LevelHealth(1, 10, 0.95, 2.0, 0), LevelHealth(2, 3, 0.4, 30.0, 97)
    check_collapse([healthy], [10])
    with pytest.raises(ConfigError, match=r"the index collapsed at level 2: .* 1\.6 of 100 nodes, 3 of them not empty"):
        check_collapse([healthy, crowded], [10, 100])


def test_training_stops_when_the_index_collapses(tmp_path):
    trainer = trainer_of(tmp_path, replace(TINY, tree="joint", branching=(16,)))
    collapse = trainer.learner.codebooks.snapshot
    trainer.learner.codebooks.snapshot = lambda read: (np.zeros_like(collapse(read)[0]), 0.0)
    with pytest.raises(ConfigError, match="the index collapsed at level 1"):
        trainer.fit()


def test_a_schedule_from_zero_is_refused():
    with pytest.raises(ConfigError, match=r"sharpness is \(0, 5\); it must rise from a number above 0"):
        HillConfig(sharpness=(0, 5))


@pytest.mark.parametrize("hill", [HillConfig(), HillConfig(codebooks="shared"), HillConfig(gradient="joint")],
                         ids=["parent", "shared", "joint-gradient"])
def test_a_joint_run_learns_exports_and_serves(tmp_path, hill, at_least=0.9, tolerance=1e-5):
    trainer = trainer_of(tmp_path / "run", replace(JOINT, epochs=3, hill=hill))
    trainer.fit()
    assert recall_of(trainer, 4) > at_least
    export(trainer, tmp_path / "bundle", {})  # refuses a parity above 1e-4
    content = Bundle.open(tmp_path / "bundle").content
    tree, virtual = trainer.learner.tree(trainer.reader.all_items())
    assert np.array_equal(tree.rows, content.tree.rows)
    offsets = trainer.model.level_offsets.detach().numpy()
    for level, nodes in enumerate(virtual):
        stored = content.embeddings[level][:, :nodes.shape[1]]
        assert np.allclose(stored, nodes + offsets[level], atol=tolerance)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(0 <= e["soft_hard_gap"] < 1 and len(e["tree"]) == 2 for e in entries if "soft_hard_gap" in e)
    assert sum("soft_hard_gap" in e for e in entries) > 4


@pytest.mark.parametrize(("gradient", "reaches"), [("stopped", False), ("joint", True)])
def test_the_index_loss_reaches_the_item_tower_only_if_asked(tmp_path, gradient, reaches):
    trainer = trainer_of(tmp_path, replace(JOINT, hill=HillConfig(gradient=gradient, reconstruction_weight=0.0)))
    trainer.model.eval()
    trainer.learner.learn()
    tree, reader = trainer.learner.tree_reader(), trainer.reader
    rows = np.arange(12).reshape(4, 3)
    users = reader.users(reader.dataset.users.take(np.arange(4)), trainer.clicks.histories(np.arange(4), 50),
                         trainer.everyone)
    logits = tree.score_holding(users, 1, rows, reader.items(rows.ravel()).reshape(4, 3, -1))
    logits.sum().backward()
    assert (trainer.model.layer(-1).item_tower.layers[-1].weight.grad is not None) == reaches
    assert trainer.learner.codebooks.tables[0].grad.abs().sum() > 0


def test_nothing_but_what_it_says_of_an_item_sets_a_positive_apart_from_negatives(tmp_path, tolerance=1e-5):
    """Under all but uniform attention and without interaction features every mixture of a level is the same.

    A softmax over equal logits gives nothing to what shifts all of them, the level's offset.
    """
    uniform = HillConfig(sharpness=(1e-7, 1e-7))
    trainer = trainer_of(tmp_path, replace(JOINT, branching=(6,), hill=uniform), positives())
    trainer.model.eval()
    trainer.learner.learn()
    tree = trainer.learner.tree_reader()
    tree.features = lambda users, level, nodes: torch.zeros(*nodes.shape, trainer.model.layer(-1).interaction_tower
                                                            .layers[0].in_features)
    loss, _ = trainer.objective.loss(np.arange(16), trainer.folds[0], tree, 1.0, np.random.default_rng(0))
    loss.backward()
    assert trainer.model.level_offsets.grad.abs().max() < tolerance


def test_a_joint_run_that_was_interrupted_between_epochs_ends_where_it_would_have_ended(tmp_path):
    whole = trainer_of(tmp_path / "whole", JOINT)
    whole.fit()
    broken = trainer_of(tmp_path / "broken", JOINT)
    step = broken._step

    def interrupted(epoch, batch, *rest):
        if (epoch, batch) == (1, 0):
            raise KeyboardInterrupt
        return step(epoch, batch, *rest)

    broken._step = interrupted
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    resumed = trainer_of(tmp_path / "broken", JOINT)
    resumed.resume()
    resumed.fit()
    assert np.array_equal(resumed.learner.codes, whole.learner.codes)
    expected = weights_of(whole)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_posthoc_tree_comes_after_training_and_changes_nothing_of_it(tmp_path):
    posthoc, alone = (trainer_of(tmp_path / name, replace(TINY, tree="posthoc", seed=3)) for name in ("a", "b"))
    posthoc.fit()
    while alone.progress.epoch < alone.epochs:
        alone._epoch(alone.progress.epoch)
    assert posthoc.learner.codes.shape == (80, 2)
    assert alone.learner.codes is None
    expected = weights_of(alone)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(posthoc).items())


def test_a_warm_started_k_means_leaves_items_where_they_are():
    vectors, _, _ = planted(4, 3, 5)
    codes = learn_codes(vectors, (4, 3), seed=0)
    assert np.array_equal(learn_codes(vectors, (4, 3), seed=9, start=codes), codes)
    missing = codes.copy()
    missing[::7] = -1
    assert np.array_equal(learn_codes(vectors, (4, 3), seed=9, start=missing), codes)


def test_a_warm_started_k_means_keeps_the_number_of_nodes_when_items_change_their_parent():
    vectors = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    codes = learn_codes(vectors, (8, 5), seed=0)
    shifted = vectors + np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32) * 0.7
    now = learn_codes(shifted, (8, 5), seed=0, start=codes)
    assert (now[:, 0] != codes[:, 0]).any()
    assert len(np.unique(now, axis=0)) > 0.9 * len(np.unique(codes, axis=0))


def test_branching_that_exceeds_the_items_is_refused_for_the_joint_tree_too(tmp_path):
    with pytest.raises(ConfigError, match="makes 100 leaves for 80 items"):
        trainer_of(tmp_path, replace(JOINT, branching=(10, 10)), positives())
