"""Score profiles: users who are sampled, and items that the same users want lie together."""

import numpy as np

from model.examples.clicks import Clicks
from model.tree.profiles import DIMENSIONS, ProfileUsers, profile_width, score_profiles
from tests.model.worlds import positives


def test_the_sample_has_active_users_only_and_depends_on_the_seed():
    clicks = Clicks(np.array([0, 1, 1, 2, 3, 4]), np.zeros(4, np.int32), np.zeros(4, np.int64))
    users = ProfileUsers(clicks, None, np.array([0, 1, 3, 4]))
    assert users.sample(10, seed=0).tolist() == [0, 3, 4]
    assert len(users.sample(2, seed=0)) == 2
    assert users.sample(2, seed=0).tolist() == users.sample(2, seed=0).tolist()


def test_ads_of_a_category_have_similar_profiles(learned_run):
    users = ProfileUsers(learned_run.clicks, learned_run.key_index, np.arange(60))
    profiles = score_profiles(learned_run.reader, users, seed=0)
    assert profiles.shape[0] == 80
    assert profiles.shape[1] <= profile_width(learned_run.dataset.spec)
    compressed = profiles[:, :min(DIMENSIONS, profiles.shape[1])]
    compressed = compressed / np.linalg.norm(compressed, axis=1, keepdims=True)
    similar, same = compressed @ compressed.T, np.arange(80)[:, None] % 8 == np.arange(80) % 8
    np.fill_diagonal(same, False)
    other = ~same & ~np.eye(80, dtype=bool)
    assert similar[same].mean() > similar[other].mean() + 0.5


def test_without_users_to_sample_the_item_embeddings_take_their_place(tiny_run):
    nobody = ProfileUsers(Clicks.of(positives().train, 60), tiny_run.key_index, np.empty(0, np.int64))
    assert np.array_equal(score_profiles(tiny_run.reader, nobody, seed=0), tiny_run.reader.all_items())
