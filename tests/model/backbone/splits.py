"""Planted splits of users and items, as matrices and as files."""

import numpy as np
from scipy import sparse

from model.backbone.interactions import hold_out, matrix
from model.backbone.model import BackboneConfig

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


def write(folder, train, test):
    folder.mkdir(exist_ok=True)
    for name, content in (("train.npz", train), ("test.npz", test)):
        sparse.save_npz(folder / name, sparse.csr_matrix(content))
    return folder
