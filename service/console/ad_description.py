"""What an ad is: its features in words, its targeting and its bid, as of a snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np

from index_store.features.decoding import decoded
from index_store.live.snapshot import Snapshot
from index_store.live.withdrawals import Status
from index_store.targeting.predicates import to_json
from service.retrieval.retriever import Retriever


def described(retriever: Retriever, snapshot: Snapshot, row: int) -> dict[str, Any]:
    """The AdDescription of an item row."""
    beyond = row - snapshot.tree.n_items
    if beyond >= 0:
        assert snapshot.added is not None, "a row beyond the tree is that of an added ad"
        features, at = snapshot.added.ads.features, beyond
    else:
        features, at = retriever.bundle.content.items, row
    predicate = retriever.targeting.predicate_of(row, snapshot.changed)
    return {"ad_id": snapshot.ad_ids(np.array([row]))[0], "features": decoded(snapshot.encoder, "item", features, at),
            "targeting": None if predicate is None else to_json(predicate), "bid": snapshot.bid(row)}


def status_of(snapshot: Snapshot, row: int) -> str:
    """Whether the ad of a row may be returned: active, paused, deleted or unfit."""
    withdrawal = snapshot.withdrawal(row)
    return (Status.ACTIVE if withdrawal is None else withdrawal.status).value
