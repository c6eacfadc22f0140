"""Score profiles: users who are sampled, and items that the same users want lie together."""

from dataclasses import replace

import numpy as np
import pytest

from model.examples.clicks import Clicks
from model.tree import profiles
from model.tree.item_scores import ItemScores
from model.tree.profiles import DIMENSIONS, ProfileUsers, profile_width, score_profiles
from tests.model.worlds import positives


def test_the_sample_has_active_users_only_and_depends_on_the_seed():
    clicks = Clicks(np.array([0, 1, 1, 2, 3, 4]), np.zeros(4, np.int32), np.zeros(4, np.int64))
    users = ProfileUsers(clicks, None, np.array([0, 1, 3, 4]))
    assert users.sample(10, seed=0).tolist() == [0, 3, 4]
    assert len(users.sample(2, seed=0)) == 2
    assert users.sample(2, seed=0).tolist() == users.sample(2, seed=0).tolist()


def test_ads_of_a_category_have_similar_profiles(learned_run, tmp_path):
    users = ProfileUsers(learned_run.clicks, learned_run.key_index, np.arange(60))
    found = np.asarray(score_profiles(learned_run.reader, users, 0, tmp_path), np.float32)
    assert found.shape[0] == 80
    assert found.shape[1] <= profile_width(learned_run.dataset.spec)
    compressed = found[:, :min(DIMENSIONS, found.shape[1])]
    compressed = compressed / np.linalg.norm(compressed, axis=1, keepdims=True)
    similar, same = compressed @ compressed.T, np.arange(80)[:, None] % 8 == np.arange(80) % 8
    np.fill_diagonal(same, False)
    other = ~same & ~np.eye(80, dtype=bool)
    assert similar[same].mean() > similar[other].mean() + 0.5


def test_without_users_to_sample_the_item_embeddings_take_their_place(tiny_run, tmp_path):
    nobody = ProfileUsers(Clicks.of(positives().train, 60), tiny_run.key_index, np.empty(0, np.int64))
    assert np.array_equal(score_profiles(tiny_run.reader, nobody, 0, tmp_path), tiny_run.reader.all_items())


def test_profiles_are_the_same_whatever_the_ranges_and_an_interrupted_call_continues(learned_run, tmp_path, monkeypatch,
                                                                                     capsys, tolerance=2e-3):
    users = ProfileUsers(learned_run.clicks, learned_run.key_index, np.arange(60))
    whole = np.asarray(score_profiles(learned_run.reader, users, 0, tmp_path / "whole"), np.float32)
    monkeypatch.setattr(profiles, "ItemScores", lambda *arguments: ItemScores(*arguments, rows=30))
    with monkeypatch.context() as interrupted:
        interrupted.setattr(profiles, "_ranked", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score_profiles(learned_run.reader, users, 0, tmp_path / "parts")
    (tmp_path / "parts" / "scores" / "000001.npy").unlink()
    parts = np.asarray(score_profiles(learned_run.reader, users, 0, tmp_path / "parts"), np.float32)
    assert "2 of 3 ranges are there already" in capsys.readouterr().err
    np.testing.assert_allclose(parts @ parts.T, whole @ whole.T, atol=tolerance)  # axes have no sign of their own


def test_scores_of_other_histories_are_not_taken_for_those_of_an_interrupted_call(learned_run, tmp_path):
    users = ProfileUsers(learned_run.clicks, learned_run.key_index, np.arange(60))
    other = replace(users, clicks=replace(users.clicks, rows=users.clicks.rows[::-1].copy()))
    score_profiles(learned_run.reader, other, 0, tmp_path / "kept")
    found, expected = (np.asarray(score_profiles(learned_run.reader, users, 0, tmp_path / name), np.float32)
                       for name in ("kept", "new"))
    np.testing.assert_array_equal(found, expected)
