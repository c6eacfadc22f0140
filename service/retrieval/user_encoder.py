"""User encoder: a user's features and history by bundle, change log and request, and what targeting reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.budgets.gates import Gate
from index_store.bundle.bundle import BundleContent
from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import as_keys
from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features
from index_store.live.snapshot import Snapshot
from index_store.search.caps import check_max_per
from index_store.targeting.attributes import check_context
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import RequestTargeting, Targeting
from service.contract.query import EncodedUser, HistoryCount, Query, UserKind


class UserEncoder:
    """Encodes users for one bundle."""

    def __init__(self, content: BundleContent, targeting: Targeting) -> None:
        self._users, self._encoder, self._targeting = content.users, content.encoder, targeting
        self._unknown_user = content.encoder.encode_user({})

    def encode(self, query: Query, snapshot: Snapshot) -> EncodedUser:
        """The user's features: those of the change log, or else of the bundle's user table, replaced field by field by
        those of the query. The history likewise: that of the query, or else live events, then the bundle's history.

        Args:
            query: names the user.
            snapshot: what the change log says about users, and about ads, whose predicates read attributes.

        Raises:
            FeatureError: a feature or context field of the query, or what it caps, is unknown or invalid.
            PredicateError: its targeting is malformed.
        """
        live = snapshot.users.of(query.user_id)
        row = -1 if live.forgotten else self._users.row(query.user_id)
        stored = self._users.features.take(np.array([row])) if row >= 0 and live.features is None else None
        features = self._unknown_user if stored is None else stored
        kind: UserKind = "unknown" if row < 0 and live.features is None and not live.history else "known"
        given, count = dict(live.features or {}), None
        requested = query.user_features or {}
        if "history" in requested:
            ids = requested["history"]
            rows = snapshot.rows(as_keys(ids, "history"))
            history = rows[rows >= 0].astype(np.int32)
            count = HistoryCount(known=len(history), unknown=len(ids) - len(history))
        else:
            history = live.rows(self._users.history.row(row) if row >= 0 else np.empty(0, np.int32),
                                snapshot.rows)
        if requested:
            kind = "inline"
            given |= {name: value for name, value in requested.items() if name != "history"}
        if given:
            features = _replaced(self._encoder, features, given)
        gate = None if snapshot.gates is None else snapshot.gates.of(query.user_id, query.at, live.capped(query.at))
        targeting = self._request_targeting(query, snapshot, stored, given, gate)
        context = self._encoder.encode_context(query.context or {})
        unknown = tuple(field.name for field, value in zip(self._encoder.spec.model_context, context, strict=True)
                        if value == UNKNOWN and not field.serve_as)
        return EncodedUser(features, history, kind, targeting, count, gate, context, unknown)

    def _request_targeting(self, query: Query, snapshot: Snapshot, stored: Features | None,
                           given: Mapping[str, Any], gate: Gate | None) -> RequestTargeting:
        context = query.context or {}
        check_context(self._encoder, context)
        check_max_per(self._encoder.spec, query.max_per)
        predicate = (None if query.targeting is None
                     else parse_predicate(query.targeting, self._encoder.spec.ad_kinds))
        return RequestTargeting(self._targeting.attributes(stored, given, context, snapshot.changed), predicate, gate)


def _replaced(encoder: FeatureEncoder, stored: Features, given: Mapping[str, Any]) -> Features:
    """`stored` with the fields named by `given` replaced by their encoded values."""
    spec, fresh = encoder.spec, encoder.encode_user(given)
    multi = zip(spec.fields("user", "multi"), fresh.multi, stored.multi, strict=True)
    return Features(np.where(_named(spec, "dense", given), fresh.dense, stored.dense),
                    np.where(_named(spec, "categorical", given), fresh.categorical, stored.categorical),
                    tuple(new if name in given else old for name, new, old in multi))


def _named(spec: FeatureSpec, kind: Literal["dense", "categorical"], given: Mapping[str, Any]) -> NDArray[np.bool_]:
    return np.array([name in given for name in spec.fields("user", kind)], bool)
