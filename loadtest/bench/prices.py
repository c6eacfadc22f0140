"""Winning prices of real campaigns, as distributions to draw from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.tables import DataError


def winning_prices(path: Path) -> list[NDArray[np.float64]]:
    """Of each campaign the share of impressions that were won at price 0, 1, ... for a thousand.

    Args:
        path: JSON, campaign -> {"price_counter_train": [impressions won at price 0, at 1, ...]}.

    Raises:
        DataError: it holds none.
    """
    try:
        won = [np.array(one["price_counter_train"], np.float64) for one in json.loads(path.read_bytes()).values()]
        return [counts / counts.sum() for counts in won]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no winning prices ({error!r}); give an object, campaign -> "
                        '{"price_counter_train": [impressions won at price 0, at 1, ...]}') from error
