"""The tree of a run: nothing before it is learned, then the means of its members or the sums of its codes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.tree.node_content import node_means
from model.config.errors import ConfigError
from model.tree.learned_tree import CodebookTree, LearnedTree, new_tree
from tests.model.tiny_runs import JOINT, TINY, run_of, trainer_of


def test_a_tree_that_was_not_learned_cannot_be_built():
    with pytest.raises(ConfigError, match="has no tree yet"):
        LearnedTree().build(np.zeros((3, 2), np.float32))


def test_nodes_of_plain_codes_are_the_means_of_their_members():
    embeddings = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    learned = LearnedTree()
    learned.codes = np.stack([np.arange(12) // 6, np.arange(12) // 2 % 3], axis=1).astype(np.int32)
    tree, virtual = learned.build(embeddings)
    assert [tree.size(level) for level in (1, 2)] == [2, 6]
    assert np.allclose(virtual[0], embeddings.reshape(2, 6, 3).mean(axis=1), atol=1e-6)
    for found, means in zip(virtual, node_means(tree, embeddings), strict=True):
        assert np.array_equal(found, means)


def move(codebooks):
    """Moves the codes away from where k-means put them, where their sums are the means of the members."""
    with torch.no_grad():
        for table in codebooks.tables:
            table += 1.0


def test_nodes_of_codebooks_without_layers_of_their_own_are_the_sums_of_their_codes(tmp_path):
    trainer = trainer_of(tmp_path, replace(JOINT, model=replace(JOINT.model, over_arch="dot")))
    trainer.run.model.eval()
    trainer.learner.learn()
    move(trainer.run.tree.codebooks)
    tree, virtual = trainer.run.tree.build(trainer.run.reader.all_items())
    books, codes = trainer.run.tree.codebooks, trainer.run.tree.codes
    for level, nodes in enumerate(virtual, start=1):
        members = codes[tree.rows[tree.offsets[level - 1][:-1]]]
        assert np.array_equal(nodes, books.node_embeddings(members, level).detach().numpy())


def test_nodes_of_codebooks_with_layers_of_their_own_are_the_means_of_their_members(tmp_path):
    trainer = trainer_of(tmp_path, JOINT)
    trainer.run.model.eval()
    trainer.learner.learn()
    move(trainer.run.tree.codebooks)
    embeddings = trainer.run.reader.all_items()
    tree, virtual = trainer.run.tree.build(embeddings)
    for found, means in zip(virtual, node_means(tree, embeddings), strict=True):
        assert np.array_equal(found, means)


@pytest.mark.parametrize(("config", "kind"), [(TINY, LearnedTree), (JOINT, CodebookTree)], ids=["em", "joint"])
def test_the_settings_name_the_kind(tmp_path, config, kind):
    run = run_of(tmp_path, config)
    assert type(new_tree(run.reader, run.config)) is kind
