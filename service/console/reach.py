"""Reach: how many of the bundle's users an ad's targeting lets in, and how many each clause keeps out."""

from __future__ import annotations

from typing import Any

import numpy as np

from index_store.bundle.bundle import UserTable
from index_store.features.encoder import FeatureEncoder
from index_store.targeting.audience import Audience
from index_store.targeting.loosening import paths_of, without
from index_store.targeting.predicates import AllOf, Predicate, to_json

MOST_USERS = 20_000
"""Users that an estimate looks at: at a share of a half its standard error is 0.4 percentage points."""

EVERYONE = AllOf(())


def reach_of(predicate: Predicate | None, users: UserTable, encoder: FeatureEncoder) -> dict[str, Any]:
    """The ReachOfUsers of an ad's predicate; None for an ad without one.

    Clauses about the context are left out: a table of users says nothing about it.
    """
    known = len(users.ids)
    rows = np.unique(np.linspace(0, known - 1, min(known, MOST_USERS)).astype(np.int64)) if known else np.empty(
        0, np.int64)
    audience = Audience(encoder, users.features.take(rows))
    context = {field.name for field in encoder.spec.context_fields}
    found = [] if predicate is None else list(paths_of(predicate))
    unjudged = {path for path, clause in found if clause.field in context}

    def eligible(left_out: set[str]) -> int:
        rest = None if predicate is None else without(predicate, left_out)
        return int(audience.holds(rest or EVERYONE).sum())

    total = eligible(unjudged)
    clauses = []
    for path, clause in found:
        judged = path not in unjudged
        loosened = eligible(unjudged | {path}) if judged else total
        clauses.append({"path": path, "clause": to_json(clause), "judged": judged, "eligible": loosened,
                        "times": loosened / total if judged and total else None})
    return {"known": known, "looked_at": len(rows), "eligible": total, "clauses": clauses}
