"""Feature encoder: how the raw values of the fields of users, items and context become numbers.

The same code encodes a whole table offline and one request online. Ids and categorical values are compared as text: the
integer 7 and the string "7" are the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.nearest import suggestion
from index_store.declaration.spec import (
    ITEM_ID,
    FeatureSpec,
    KeyFamily,
)
from index_store.declaration.values import FeatureError, as_key, as_keys, as_number
from index_store.features.ragged import Ragged
from index_store.features.vocabulary import look_up, look_up_one, standardised

UNKNOWN = 0
"""Id of a missing or unseen value, in every vocabulary."""


@dataclass(frozen=True)
class Features:
    """Encoded features of N users or N items.

    Attributes:
        dense: (N, number of dense fields) float32, standardised; NaN where the value of an optional field is missing.
        categorical: (N, number of categorical fields) int32 vocabulary ids.
        multi: one Ragged of vocabulary ids for each multi-valued field.
    """

    dense: NDArray[np.float32]
    categorical: NDArray[np.int32]
    multi: tuple[Ragged, ...]

    def __len__(self) -> int:
        return len(self.dense)

    def take(self, rows: NDArray[np.integer]) -> Features:
        return Features(self.dense[rows], self.categorical[rows], tuple(m.take(rows) for m in self.multi))


@dataclass(frozen=True)
class FeatureEncoder:
    """A FeatureSpec with what was fitted on the log: vocabularies, and the scales of dense fields.

    Attributes:
        vocabularies: `user.<field>`, `item.<field>` and, where the model reads it, `context.<field>` -> (V,) sorted
            unique bytes; entry v has the id v + 1.
        scales: `user.<field>` and `item.<field>` -> (mean, standard deviation) of a dense field.
        item_ids: (n_items,) sorted unique bytes; an item's row is its index here.
    """

    spec: FeatureSpec
    vocabularies: Mapping[str, NDArray[np.bytes_]]
    scales: Mapping[str, tuple[float, float]]
    item_ids: NDArray[np.bytes_] = field(repr=False)

    def vocabulary_size(self, side: Literal["user", "item", "context"], name: str) -> int:
        """Number of ids of a field, including the unknown id."""
        return len(self.vocabularies[f"{side}.{name}"]) + 1

    def keys_of_family(self, family: KeyFamily) -> int:
        """Number of distinct keys of a family, including the unknown one; an item's own key is its row + 1."""
        if family.item_field == ITEM_ID:
            return len(self.item_ids) + 1
        return self.vocabulary_size("item", family.item_field)

    def sources_of_family(self, family: KeyFamily) -> int:
        """Number of distinct sources of a family, the values that reach its keys, including the unknown one.

        The keys of similar users are not reached from one value at a time, so there is none.
        """
        if family.via == "similar_users":
            return 0
        return self.vocabulary_size("user", family.user_field) if family.user_field else self.keys_of_family(family)

    def key_starts(self) -> NDArray[np.int64]:
        """First key of each family in the space of all keys, and the end of the last: (families + 1,) int64."""
        return np.cumsum([0, *(self.keys_of_family(family) for family in self.spec.key_families)], dtype=np.int64)

    def matched_keys(self, family: KeyFamily) -> NDArray[np.int32]:
        """The key with the same text as each source of a `match` family, UNKNOWN if there is none: (sources,) int32."""
        if not family.user_field:
            return np.arange(self.keys_of_family(family), dtype=np.int32)
        keys = self.item_ids if family.item_field == ITEM_ID else self.vocabularies[f"item.{family.item_field}"]
        values = self.vocabularies[f"user.{family.user_field}"]
        return np.concatenate([[UNKNOWN], look_up(keys, values) + 1]).astype(np.int32)

    def encode_values(self, side: Literal["user", "item"], name: str, keys: NDArray[np.bytes_]) -> NDArray[np.int32]:
        """Vocabulary ids (N,) int32 of canonical values (N,); UNKNOWN for a value that is not in the vocabulary."""
        return (look_up(self.vocabularies[f"{side}.{name}"], keys) + 1).astype(np.int32)

    def encode_context(self, raw: Mapping[str, object]) -> NDArray[np.int32]:
        """Ids (C,) of the context fields that the model reads; UNKNOWN for a value that is missing, None or unseen.

        Args:
            raw: field name -> value; other fields do not matter.

        Raises:
            FeatureError: a value is neither text nor an integer.
        """
        return np.array([self._one("context", field.name, raw.get(field.name)) for field in self.spec.model_context],
                        np.int32)

    def encode_user(self, raw: Mapping[str, object]) -> Features:
        """Encodes the user fields of one request; a field that is missing or None becomes UNKNOWN or, if
        it is dense, NaN where it is optional and else the mean.

        Args:
            raw: field name -> float, value, or list of values.

        Returns:
            Features of one row.

        Raises:
            FeatureError: unknown field, wrong type, NaN or infinity, too many values.
        """
        return self._encode("user", raw)

    def encode_item(self, raw: Mapping[str, object]) -> Features:
        """Encodes the fields of one ad; all must be there, and none but dense ones that are not optional may be None.

        Args:
            raw: field name -> float, value, or list of values.

        Returns:
            Features of one row.

        Raises:
            FeatureError: unknown or missing field, wrong type, NaN or infinity, too many values.
        """
        for entry in self.spec.item_fields:
            if entry.name not in raw:
                raise FeatureError(entry.name, f"ad feature {entry.name!r} is missing",
                                   f"give {sorted(f.name for f in self.spec.item_fields)}")
            if entry.kind == "dense" and not (entry.optional and raw[entry.name] is None):
                as_number(raw[entry.name], entry.name)
        return self._encode("item", raw)

    def _encode(self, side: Literal["user", "item"], raw: Mapping[str, object]) -> Features:
        known = {f.name for f in (self.spec.user_fields if side == "user" else self.spec.item_fields)}
        for name in raw:
            if name not in known:
                raise FeatureError(name, f"{'ad' if side == 'item' else side} feature {name!r} is unknown",
                                   f"{suggestion(name, known)}this bundle knows {sorted(known)}")
        optional = self.spec.optional_columns(side)
        dense = [self._dense(side, name, raw.get(name), np.nan if at in optional else 0.0)
                 for at, name in enumerate(self.spec.fields(side, "dense"))]
        categorical = [self._one(side, name, raw.get(name)) for name in self.spec.fields(side, "categorical")]
        multi = [self._many(side, name, raw.get(name)) for name in self.spec.fields(side, "multi")]
        return Features(np.array(dense, np.float32).reshape(1, -1), np.array(categorical, np.int32).reshape(1, -1),
                        tuple(map(Ragged.one_row, multi)))

    def _dense(self, side: Literal["user", "item"], name: str, value: object, missing: float) -> float:
        if value is None:
            return missing
        return float(standardised(as_number(value, name), self.scales[f"{side}.{name}"]))

    def _one(self, side: Literal["user", "item", "context"], name: str, value: object) -> int:
        if value is None:
            return UNKNOWN
        return look_up_one(self.vocabularies[f"{side}.{name}"], as_key(value, name)) + 1

    def _many(self, side: Literal["user", "item"], name: str, value: object) -> NDArray[np.int32]:
        if value is None:
            return np.empty(0, np.int32)
        ids = self.encode_values(side, name, as_keys(value, name))
        known: NDArray[np.int32] = ids[ids != UNKNOWN]
        return known
