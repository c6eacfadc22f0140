"""`python -m model evaluate --off-policy`: what policies would have earned, from a log that explored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.declaration.spec import BidType
from index_store.features.vocabulary import look_up
from index_store.live.user_history import EventType
from index_store.value.bids import BID_TYPES, NO_BID
from index_store.value.valuation import IMPRESSIONS
from model.data.tables import DataError
from model.evaluation.bundle_policy import BundlePolicy
from model.evaluation.logged_answers import ABSENT, LoggedAnswers, read_logged_answers
from model.evaluation.off_policy import Shown, Target, estimates

LEAST_SUPPORT = 0.95
"""Of a policy's places, at least so many must show ads that the log could have shown: else its estimates say little."""

_PAID: dict[BidType, str | None] = {"CPM": None, "CPC": EventType.CLICK, "CPA": EventType.CONVERSION}


def off_policy(where: str, folder: Path | None, reward: str) -> dict[str, Any]:
    """Estimates from a log.

    Args:
        where: the log, see read_logged_answers.
        folder: bundle whose policy is estimated too; None for none.
        reward: `click`; or `ecpm`, what the ads have paid, for a thousand impressions in micros.

    Returns:
        `answers`, `impressions`, those `left_out` and `explored`, `reward`; `policies`: `logging`, what was shown;
        `without_exploration`, the same answers with nothing explored; `bundle`.

    Raises:
        DataError: the log cannot be used, or it could not have shown enough of the ads of the bundle.
        BundleError: the bundle cannot be opened.
    """
    logged, opened = read_logged_answers(where), None if folder is None else Bundle.open(folder)
    shown = Shown(answers=logged.answers, propensities=logged.propensities,
                  rewards=_paid(logged, opened) if reward == "ecpm" else _clicks(logged))
    policies = {"logging": estimates(shown, Target(probabilities=logged.propensities)),
                "without_exploration": estimates(shown, Target(probabilities=(~logged.explored).astype(np.float64)))}
    if opened is not None:
        target = BundlePolicy(opened, reward == "ecpm").target(logged)
        policies["bundle"] = estimates(shown, target)
        _check_support(opened, len(logged.ads), int(target.probabilities.sum()), policies["bundle"]["support"])
    return {"reward": reward, "answers": len(logged.users), "impressions": len(logged.ads),
            "left_out": logged.left_out, "explored": int(logged.explored.sum()), "policies": policies}


def _check_support(opened: Bundle, places: int, shown: int, support: dict[str, float]) -> None:
    if support["high"] < LEAST_SUPPORT:
        lost = 1 - support["value"]
        raise DataError(
            f"of the {places:,} places of the logged answers, bundle {opened.bundle_id} gives about "
            f"{lost * places:,.0f} ({lost:.0%}) to ads that these answers could not show: {shown:,} of the impressions "
            f"are of ads that it shows too, and support is {support['value']:.3f}, at most {support['high']:.3f}; "
            "estimate a bundle that differs less, or log with one that ranks as it does")


def _clicks(logged: LoggedAnswers) -> NDArray[np.float64]:
    return logged.rewards.get(EventType.CLICK, logged.rewards.get("reward", np.empty(0)))


def _paid(logged: LoggedAnswers, opened: Bundle | None) -> NDArray[np.float64]:
    """What each impression paid, times IMPRESSIONS: by the bid of its time, or else that of the bundle."""
    if "reward" in logged.rewards:
        return logged.rewards["reward"]
    micros, types = np.zeros(len(logged.ads), np.int64), np.zeros(len(logged.ads), np.int64)
    if opened is not None and opened.content.bids is not None:
        rows = look_up(opened.content.encoder.item_ids, logged.ads)
        known = rows >= 0
        micros[known], types[known] = opened.content.bids.at(
            opened.content.tree.position_of_row[rows[known]].astype(np.int64))
    for at, bid in enumerate(logged.bids):
        if bid is not ABSENT:
            micros[at], types[at] = (NO_BID, 0) if bid is None else (bid["micros"], BID_TYPES.index(bid["type"]))
    if not micros.any():
        raise DataError(f"none of the {len(micros):,} impressions is of an ad with a bid, so none pays; name the "
                        "bundle whose ads have bids, or estimate clicks")
    labels = np.stack([np.full(len(micros), 1 / IMPRESSIONS) if (task := _PAID[kind]) is None else logged.rewards[task]
                       for kind in BID_TYPES])
    paid: NDArray[np.float64] = IMPRESSIONS * micros * labels[types, np.arange(len(micros))]
    return paid
