"""Audience: evaluates one predicate of an ad for many stored users at once.

`predicate_program` evaluates all predicates for one request; this is the other way round, for estimates of reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features
from index_store.targeting.attributes import encoded_bounds
from index_store.targeting.predicates import AllOf, AnyOf, Clause, Near, Not, Predicate, Within


@dataclass(frozen=True)
class Audience:
    """U users, by what the bundle's table says about them: a dense value that is missing there is the mean.

    Attributes:
        encoder: of the bundle.
        users: their features.
    """

    encoder: FeatureEncoder
    users: Features
    _truth: dict[Clause, NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)

    def holds(self, predicate: Predicate) -> NDArray[np.bool_]:
        """For which users a predicate over user fields alone holds: (U,) bool."""
        match predicate:
            case Not(part):
                return ~self.holds(part)
            case AllOf(parts):
                found = np.ones(len(self.users), np.bool_)
                for part in parts:
                    found &= self.holds(part)
                return found
            case AnyOf(parts):
                found = np.zeros(len(self.users), np.bool_)
                for part in parts:
                    found |= self.holds(part)
                return found
            case _:
                if predicate not in self._truth:
                    self._truth[predicate] = self._clause(predicate)
                return self._truth[predicate]

    def _clause(self, clause: Clause) -> NDArray[np.bool_]:
        spec, users = self.encoder.spec, self.users
        assert not isinstance(clause, Near), "places are context, never a user's own"
        if isinstance(clause, Within):
            lower, upper = encoded_bounds(self.encoder, "user", clause)
            values = users.dense[:, spec.fields("user", "dense").index(clause.field)]
            return (values >= np.float32(lower)) & (values <= np.float32(upper))
        keys = np.array(clause.values, np.bytes_)
        ids = self.encoder.encode_values("user", clause.field, keys) if len(keys) else np.empty(0, np.int32)
        ids = ids[ids != UNKNOWN]
        names = spec.fields("user", "categorical")
        if clause.field in names:
            return np.isin(users.categorical[:, names.index(clause.field)], ids)
        lists = users.multi[spec.fields("user", "multi").index(clause.field)]
        owners = np.repeat(np.arange(len(users)), lists.lengths)
        found = np.zeros(len(users), np.bool_)
        found[owners[np.isin(lists.values, ids)]] = True
        return found
