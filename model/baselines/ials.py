"""iALS: implicit matrix factorisation by alternating least squares, the best dot product that is fitted in seconds.

Weights of users and items minimise the squared error over all pairs, in which a positive counts `alpha` times as much
as any other pair (Hu, Koren and Volinsky 2008). It is strong if its settings are searched widely (Rendle et al.,
arXiv 2110.14037), so `choose` walks a grid in orders of magnitude.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from model.baselines.budget import SkippedError
from model.baselines.positives import Matrix

ITERATIONS, TRIAL_ITERATIONS = 15, 8
"""Of a fit, and of a trial of settings, whose order shows before they have converged."""

FACTORS = (64, 128)
REGULARISATIONS = (0.1, 1.0, 10.0, 100.0, 1000.0)
ALPHAS = (1.0, 4.0, 16.0, 64.0, 256.0)
START = (0, 2, 2)
"""Places in the three lists where the walk begins. `alpha` decides most: 16 and less is best on dense logs, 64 and more
where users have ten positives."""


@dataclass(frozen=True)
class Settings:
    """Settings of a fit."""

    factors: int
    regularisation: float
    alpha: float


@dataclass(frozen=True)
class Ials:
    """The baseline, fitted.

    Attributes:
        users: (users, factors) float32.
        items: (items, factors) float32.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]

    @classmethod
    def fit(cls, train: Matrix, settings: Settings, seed: int, iterations: int = ITERATIONS) -> Ials:
        """Factorises a matrix (users, items); the result depends on the seed alone, not on the number of threads.

        Raises:
            SkippedError: the package `implicit` cannot be loaded.
        """
        try:
            # Imported here: its wheel needs OpenMP of the system, which slim images lack.
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise SkippedError(f"the package implicit cannot be loaded ({error}); install libgomp1") from error
        with threadpool_limits(1, "blas"):  # the package has threads of its own, and warns where BLAS has too
            model = AlternatingLeastSquares(
                factors=settings.factors, regularization=settings.regularisation, alpha=settings.alpha,
                iterations=iterations, num_threads=os.cpu_count() or 1, random_state=seed)
            model.fit(sparse.csr_matrix(train), show_progress=False)
        return cls(np.asarray(model.user_factors), np.asarray(model.item_factors))

    def scores(self, users: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B,) -> (B, items)."""
        found: NDArray[np.float32] = self.users[users] @ self.items.T
        return found


def choose(recall: Callable[[Settings], float], more: Callable[[], bool], most: int) -> tuple[Settings, int]:
    """Walks the grid uphill from its middle: tries the neighbours of the best settings until none is better.

    Args:
        recall: of settings on a hold-out.
        more: whether there is time for one more.
        most: settings to try.

    Returns:
        The best settings, and how many were tried.
    """
    found = {START: recall(_at(START))}
    while True:
        best = max(found, key=lambda place: found[place])
        untried = [place for place in _neighbours(best) if place not in found]
        if not untried or len(found) >= most or not more():
            return _at(best), len(found)
        found[untried[0]] = recall(_at(untried[0]))


def _at(place: tuple[int, int, int]) -> Settings:
    return Settings(FACTORS[place[0]], REGULARISATIONS[place[1]], ALPHAS[place[2]])


def _neighbours(place: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Places one step away, those first that promise most."""
    factors, regularisation, alpha = place
    near = [(factors, regularisation, alpha + up) for up in (1, -1)]
    near += [(factors + up, regularisation, alpha) for up in (1, -1)]
    near += [(factors, regularisation + up, alpha) for up in (1, -1)]
    return [(f, r, a) for f, r, a in near
            if 0 <= f < len(FACTORS) and 0 <= r < len(REGULARISATIONS) and 0 <= a < len(ALPHAS)]
