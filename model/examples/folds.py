"""Folds of users: an example reads co-click counts of the users outside its own fold.

If the counts included the example's own click, a count higher by one would reveal the positive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FOLDS = 8


def fold_of_users(users: int, seed: int) -> NDArray[np.int64]:
    """A random fold for each user: (U,) int64 in [0, FOLDS)."""
    return np.random.default_rng([seed, 1]).permutation(users) % FOLDS
