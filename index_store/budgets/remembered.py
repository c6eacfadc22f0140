"""How far back the change log is needed to know where campaigns stand."""

from __future__ import annotations

from collections.abc import Iterable

from index_store.budgets.campaign import Campaign
from index_store.budgets.ledger import KEPT_SECONDS
from index_store.changes.change_log import Change


def remembered_seconds(states: Iterable[Change]) -> float:
    """Seconds before now whose entries count: those of today and yesterday, and of the longest frequency cap.

    Args:
        states: last changes of all campaigns.
    """
    caps = [cap.hours for state in states if (cap := Campaign.of_fields(state.fields).frequency_cap) is not None]
    return float(max(KEPT_SECONDS, 3600 * max(caps, default=0)))
