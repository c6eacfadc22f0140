"""What perfect knowledge could win: an upper bound by Lagrangian relaxation of the budgets.

Whoever knew the whole day would fill the places of each request with the ads that, together, are worth most without any
campaign spending more than its budget. With a multiplier for each budget the requests fall apart: an ad is then worth
its value minus the multiplier times its price. For any multipliers the result is an upper bound; subgradient steps look
for the lowest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 200


def upper_bound(values: NDArray[np.float64], prices: NDArray[np.float64], campaigns: NDArray[np.int64],
                budgets: NDArray[np.float64], places: int, steps: int = STEPS) -> float:
    """The lowest bound found on the value of R requests.

    Args:
        values: (R, M) what the candidates of each request are worth; 0 for one that is not there.
        prices: (R, M) what they cost.
        campaigns: (R, M) whose they are.
        budgets: (C,) of the campaigns.
        places: of each request.
        steps: of the descent.
    """
    multipliers, best = np.zeros(len(budgets)), np.inf
    limited = np.isfinite(budgets)
    scale = np.where(limited, budgets, 1.0)
    for step in range(1, steps + 1):
        worth = values - multipliers[campaigns] * prices
        taken = np.argpartition(-worth, places - 1, axis=1)[:, :places] if worth.shape[1] > places else np.broadcast_to(
            np.arange(worth.shape[1]), worth.shape)
        gained = np.maximum(np.take_along_axis(worth, taken, 1), 0.0)
        best = min(best, float(gained.sum() + multipliers[limited] @ budgets[limited]))
        spent = np.bincount(np.take_along_axis(campaigns, taken, 1)[gained > 0],
                            np.take_along_axis(prices, taken, 1)[gained > 0], len(budgets))
        excess = np.where(limited, np.clip(spent / scale - 1.0, -1.0, 1.0), 0.0)
        multipliers = np.maximum(multipliers + excess / np.sqrt(step), 0.0)
    return best
