"""The backbone against dense numpy and brute force, on planted matrices of a few hundred users."""

import numpy as np
import pytest
from scipy import sparse

from model.backbone import beam, gfcf, model, ranking, tuning
from model.backbone.features import SCORES, TOWER_SCORES, PairFeatures
from model.backbone.interactions import hold_out, lengths, matrix, read_split
from model.backbone.model import Backbone, BackboneConfig
from model.backbone.neighbours import ITEM_TERMS, USER_TERMS, Neighbours
from model.backbone.spectral import Towers, fit_towers, normalised
from model.config import ConfigError
from model.data.tables import DataError
from model.training.node_pairs import random_pairs

SMALL = BackboneConfig(dims=12, head_users=300, candidates=15, epochs=6, block=64, hold_out=0.2)


def planted(users=300, items=120, groups=6, seed=0):
    """Users of a group choose nearly all their items among the group's: train and test of one split."""
    rng = np.random.default_rng(seed)
    group = np.arange(items) % groups
    rows, columns = [], []
    for user in range(users):
        weights = np.where(group == user % groups, 1.0, 0.01)
        rows += [user] * 10
        columns += list(rng.choice(items, 10, replace=False, p=weights / weights.sum()))
    return hold_out(matrix(np.array(rows), np.array(columns), (users, items)), 0.2, rng)


@pytest.fixture(scope="module")
def split():
    return planted()


@pytest.fixture(scope="module")
def fitted(split):
    return model.fit(split.train, SMALL, seed=0)


def write(folder, train, test):
    folder.mkdir(exist_ok=True)
    for name, content in (("train.npz", train), ("test.npz", test)):
        sparse.save_npz(folder / name, sparse.csr_matrix(content))
    return folder


def test_recall_and_ndcg_are_those_of_a_brute_force():
    rng = np.random.default_rng(3)
    wanted = matrix(np.repeat(np.arange(40), 3), rng.integers(0, 30, 120), (40, 30))
    top = np.stack([rng.permutation(30)[:5] for _ in range(40)])
    recalls, ndcgs = [], []
    for user in range(40):
        relevant = set(wanted[[user]].indices)
        gains = [1 / np.log2(place + 2) for place, item in enumerate(top[user]) if item in relevant]
        ideal = [1 / np.log2(place + 2) for place in range(min(5, len(relevant)))]
        recalls.append(len(gains) / len(relevant))
        ndcgs.append(sum(gains) / sum(ideal))
    found = ranking.quality(top, wanted)
    assert found.recall == pytest.approx(np.mean(recalls))
    assert found.ndcg == pytest.approx(np.mean(ndcgs))


def test_places_without_an_item_are_no_hits():
    wanted = matrix(np.array([0]), np.array([9]), (1, 10))
    assert ranking.quality(np.array([[-1, 3]]), wanted).recall == 0
    assert ranking.quality(np.array([[-1, 9]]), wanted).recall == 1


def test_towers_span_what_a_dense_svd_finds(split, tolerance=1e-3):
    rows = normalised(split.train)
    towers = fit_towers(rows, 6, np.random.default_rng(0))
    _, strengths, vectors = np.linalg.svd(rows.toarray())
    assert towers.strengths == pytest.approx(strengths[:6], abs=tolerance)
    overlap = np.linalg.svd(vectors[:6] @ towers.vectors)[1]
    assert overlap.min() > 1 - tolerance


def test_towers_have_no_more_dimensions_than_the_matrix():
    rows = matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), (2, 5))
    assert fit_towers(normalised(rows), 4, np.random.default_rng(0)).vectors.shape == (5, 1)


def test_neighbour_terms_are_those_of_dense_matrices(split, tolerance=1e-4):
    train, dense = split.train, split.train.toarray().astype(np.float64)
    users, pairs = np.array([0, 7, 31]), np.maximum(dense.sum(axis=0), 1)
    wanted = []
    for term in ITEM_TERMS:
        rows = dense / np.maximum(dense.sum(axis=1, keepdims=True), 1)**term.user_power / np.sqrt(pairs)
        walk = rows.T @ rows
        np.fill_diagonal(walk, 0)
        wanted.append((dense[users] / pairs**term.item_power) @ walk**term.power * pairs**term.item_power)
    for term in USER_TERMS:
        rows = dense / pairs**term.item_power
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        similar = rows @ rows.T
        np.fill_diagonal(similar, 0)
        wanted.append((similar[users]**term.power @ dense) / pairs**term.damping)
    found = list(Neighbours(train).terms(users))
    assert len(found) == Neighbours.count
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance)


def test_gf_cf_is_the_dense_filter(split):
    """The two filters by dense matrices, with all singular vectors but the last, which a sparse solver cannot give."""
    dense = split.train.toarray().astype(np.float64)
    users, items = np.maximum(dense.sum(axis=1), 1), np.maximum(dense.sum(axis=0), 1)
    rows = dense / np.sqrt(users[:, None] * items)
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:119]
    scores = dense @ rows.T @ rows + gfcf.WEIGHT * (dense / np.sqrt(items)) @ vectors.T @ vectors * np.sqrt(items)
    scores[dense > 0] = -np.inf
    top = gfcf.rank_all(split.train, np.arange(50), np.random.default_rng(0))
    mine = np.take_along_axis(scores[:50], top, axis=1)
    assert mine == pytest.approx(-np.sort(-scores[:50], axis=1)[:, :ranking.CUT], abs=1e-4)


def test_a_pair_has_the_same_inputs_alone_and_in_a_block(split, fitted, tolerance=1e-3):
    backbone, neighbours = fitted
    features = PairFeatures(split.train, neighbours, backbone.towers)
    users = np.arange(40, 60)
    block = features.block(users)
    rows, items = model.candidates(block, 5)
    assert features.inputs(block, users, rows, items) == pytest.approx(block.inputs(rows, items), rel=tolerance,
                                                                       abs=tolerance)


def test_own_items_have_no_scores_and_are_no_candidates(split, fitted):
    backbone, neighbours = fitted
    block = PairFeatures(split.train, neighbours, backbone.towers).block(np.arange(10))
    own = block.own.toarray() > 0
    assert block.scores.shape[0] == SCORES > TOWER_SCORES
    assert (block.scores[:, own] == 0).all()
    rows, items = model.candidates(block, 200)
    assert not own[rows, items].any()


def ranked(backbone, neighbours, users):
    block = PairFeatures(neighbours.train, neighbours, backbone.towers).block(users)
    return block, model.rank(backbone.head, block, *model.candidates(block, backbone.config.candidates), cut=10)


def test_the_planted_group_is_found(split, fitted):
    users = np.arange(300)
    _, top = ranked(*fitted, users)
    assert (top % 6 == (users % 6)[:, None]).mean() > 0.9
    assert ranking.quality(top, split.test[users]).recall > 0.4  # the popular items of all groups give 0.08


def test_the_same_seed_gives_the_same_ranking(split, fitted):
    users = np.arange(30)
    again = model.fit(split.train, SMALL, seed=0)
    assert (ranked(*again, users)[1] == ranked(*fitted, users)[1]).all()


def test_a_saved_backbone_ranks_the_same(fitted, tmp_path):
    backbone, neighbours = fitted
    backbone.save(tmp_path / "b")
    loaded = Backbone.load(tmp_path / "b")
    assert loaded.config == backbone.config
    users = np.arange(30)
    assert (ranked(loaded, neighbours, users)[1] == ranked(backbone, neighbours, users)[1]).all()


def test_a_folder_without_a_backbone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no backbone"):
        Backbone.load(tmp_path)


def test_a_wide_beam_finds_what_ranking_all_items_finds(split, fitted):
    backbone, neighbours = fitted
    tree = beam.learn_tree(backbone.towers, 0, (4, 3))
    block, _ = ranked(backbone, neighbours, np.arange(20))
    everything = model.rank(backbone.head, block, *(block.own.toarray() == 0).nonzero(), cut=10)
    found, pairs = beam.search(backbone.head, block, tree, (99, 99), cut=10)
    assert (found == everything).all()
    assert (pairs == 120 - lengths(block.own)).all()
    _, fewer = beam.search(backbone.head, block, tree, (2, 2), cut=10)
    assert (fewer < pairs).all()


def test_node_columns_move_the_towers_and_are_dropped_again(split, fitted):
    backbone, _ = fitted
    tree = beam.learn_tree(backbone.towers, 0, (4, 3))
    pairs = tuning.history_pairs(split.train, tree, (0.3, 0.3))
    assert sum(map(len, pairs)) > 0

    def after(lists):
        return tuning.tuned(split.train, backbone.towers, tree, lists, 2, np.random.default_rng(0))

    real, nodes = after([]), after(pairs)
    other = after([random_pairs(tree, level, np.random.default_rng(1)) for level in pairs])
    assert {t.vectors.shape for t in (real, nodes, other)} == {backbone.towers.vectors.shape}

    def projected(towers: Towers):
        basis = np.linalg.qr(towers.vectors)[0]
        return basis @ basis.T

    own = projected(backbone.towers)
    moved = [np.linalg.norm(projected(t) - own) for t in (real, nodes, other)]
    assert moved[0] < 0.2 < moved[1] < moved[2]


def test_a_hold_out_takes_its_share_of_each_user_and_nothing_twice():
    train = matrix(np.repeat([0, 1, 2], [1, 2, 20]), np.concatenate([[5], [1, 2], np.arange(20)]), (4, 30))
    parts = hold_out(train, 0.1, np.random.default_rng(0))
    assert lengths(parts.test).tolist() == [0, 1, 2, 0]
    assert (parts.train + parts.test != train).nnz == 0


@pytest.mark.parametrize(("train", "test", "says"), [
    (np.eye(3), np.eye(3), "3 of the 3 test pairs"), (np.eye(3), np.ones((3, 4)), r"\(3, 3\).*\(3, 4\)"),
    (np.eye(3), np.zeros((3, 3)), "holds no pair")])
def test_a_split_that_is_none_is_refused(tmp_path, train, test, says):
    with pytest.raises(DataError, match=says):
        read_split(write(tmp_path, train, test))


def test_files_that_are_no_matrices_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_split(tmp_path)
    (tmp_path / "train.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="no sparse matrix"):
        read_split(tmp_path)


def test_users_without_train_items_are_kept_and_counted(tmp_path):
    train, test = np.eye(3), np.roll(np.eye(3), 1, axis=1)
    train[1] = 0
    found = read_split(write(tmp_path, train, test))
    assert (found.without_train, found.train.shape) == (1, (3, 3))
