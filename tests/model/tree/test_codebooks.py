"""Codebooks of the joint index on planted vectors."""


import numpy as np
import pytest
import torch

from model.config.errors import ConfigError
from model.config.hill import HillConfig
from model.tree.codebooks import Attended, Codebooks, check_collapse
from model.tree.health import LevelHealth
from model.tree.k_means import dense, learn_codes
from tests.model.worlds import planted_groups

PLAIN = HillConfig()


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
    vectors, group, subgroup = planted_groups(4, 3, 5)
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
    with pytest.raises(ConfigError, match=r"has collapsed at level 2: .* 1\.6 of 100 nodes, 3 of them not empty"):
        check_collapse([healthy, crowded], [10, 100])


def test_a_schedule_from_zero_is_refused():
    with pytest.raises(ConfigError, match=r"sharpness is \(0, 5\); it must rise from a number above 0"):
        HillConfig(sharpness=(0, 5))
