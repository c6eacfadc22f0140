"""A planted world for the baselines: users and items in groups, positives within the own group."""

import numpy as np
from scipy import sparse


def planted(users=120, items=60, groups=4, clicks=7, seed=0):
    """Train matrix (users, items), and the group of each user and item."""
    rng = np.random.default_rng(seed)
    of_user, of_item = np.arange(users) % groups, np.arange(items) % groups
    dense = np.zeros((users, items), np.float32)
    for user in range(users):
        dense[user, rng.permutation(np.flatnonzero(of_item == of_user[user]))[:clicks]] = 1
    return sparse.csr_matrix(dense), of_user, of_item


def share_in_own_group(ranker, train, of_user, of_item, k=5):
    """Share of the best k new items of each user that lie in the user's group."""
    users = np.arange(len(of_user))
    scores = np.where(train.toarray() > 0, -np.inf, ranker.scores(users))
    top = np.argsort(-scores, axis=1)[:, :k]
    return (of_item[top] == of_user[:, None]).mean()
