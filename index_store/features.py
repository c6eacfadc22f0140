"""FeatureSpec and FeatureEncoder: what the fields of users and items are, and how raw values become numbers.

The same code encodes a whole table offline and one request online. It knows nothing of towers, trees or HTTP.
Ids and categorical values are compared as text: the integer 7 and the string "7" are the same value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from reprlib import repr as short  # of a request's values, which may be long, and nested deeper than repr can go
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from index_store.ragged import Ragged

Kind = Literal["dense", "categorical", "multi"]
Via = Literal["match", "co_click"]
Negatives = Literal["impressions", "sampled"]

UNKNOWN = 0
"""Id of a missing or never seen value, in every vocabulary."""

ITEM_ID = "ad_id"
"""Name under which the item's own id serves as a field of key families."""

MAX_ID_BYTES = 128
"""Longest user id, ad id or categorical value, in UTF-8 bytes."""

MAX_LIST = 1_000
"""Most values in one multi-valued field or history of a request."""


class FeatureError(ValueError):
    """A feature that cannot be encoded. `name` is the field's name, the message tells value, fact and remedy."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class FieldSpec:
    """One field of a user or an item: `dense` float, `categorical` value, or `multi` (a list of values)."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class KeyFamily:
    """One family of interaction features (Section 2, I2IF): keys of the user's history against an inverted index.

    `match` looks up the value of `item_field` of each history item. `co_click` first replaces it by the `neighbours`
    values that other users clicked together with it, weighted by c_ab / sqrt(c_a c_b). `item_field` may be `ad_id`.
    """

    name: str
    item_field: str
    via: Via
    neighbours: int = 0


@dataclass(frozen=True)
class TaskSpec:
    """One label column of the log and its weight in the loss (w_t of Equation 2)."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class FeatureSpec:
    """The declaration in `features.json` that goes from the log through training into the bundle.

    Attributes:
        user_fields, item_fields: the columns of the two tables, besides the ids.
        tasks: label columns of the events; the first ranks unless a request weighs them otherwise.
        negatives: `impressions` if the log holds impressions without a label, `sampled` if it holds positives only.
        key_families: interaction features.
        history_length: most recent clicked items that are kept for a user.
        history_ordered: whether timestamps order the history; without them recency features are left out.
    """

    user_fields: tuple[FieldSpec, ...]
    item_fields: tuple[FieldSpec, ...]
    tasks: tuple[TaskSpec, ...]
    negatives: Negatives
    key_families: tuple[KeyFamily, ...]
    history_length: int = 50
    history_ordered: bool = True

    def __post_init__(self) -> None:
        names = [f.name for f in self.item_fields]
        for kind, group in (("user field", self.user_fields), ("item field", self.item_fields),
                            ("task", self.tasks), ("key family", self.key_families)):
            seen = [entry.name for entry in group]
            for name in seen:
                if seen.count(name) > 1:
                    raise FeatureError(name, f"{kind} {name!r} is declared twice; names must differ")
                if not name.isidentifier() or name in ("user_id", "ad_id", "history", "timestamp"):
                    raise FeatureError(name, f"{kind} {name!r} is not a usable name; letters, digits and _ are, "
                                             "user_id, ad_id, history and timestamp are taken")
        for entry in (*self.user_fields, *self.item_fields):
            if entry.kind not in get_args(Kind):
                raise FeatureError(entry.name, f"kind {entry.kind!r} of {entry.name!r} is none of {get_args(Kind)}")
        if not self.tasks:
            raise FeatureError("tasks", "no task is declared; name at least one label column")
        if self.negatives not in get_args(Negatives):
            raise FeatureError("negatives", f"negatives {self.negatives!r} is unknown; use {get_args(Negatives)}")
        if not 0 < self.history_length <= MAX_LIST:
            raise FeatureError("history_length", f"history_length {self.history_length} is outside 1..{MAX_LIST}")
        for task in self.tasks:
            if not (math.isfinite(task.weight) and task.weight >= 0):
                raise FeatureError(task.name, f"weight {task.weight} of task {task.name!r} is not a number >= 0")
        dense = {f.name for f in self.item_fields if f.kind == "dense"}
        for family in self.key_families:
            if family.via not in get_args(Via):
                raise FeatureError(family.name, f"via {family.via!r} of key family {family.name!r} is unknown; "
                                                f"use {get_args(Via)}")
            if family.item_field != ITEM_ID and (family.item_field not in names or family.item_field in dense):
                raise FeatureError(family.name, f"key family {family.name!r} uses {family.item_field!r}, which is no "
                                                f"categorical or multi item field of {names}")
            if (family.via == "co_click") != (family.neighbours > 0):
                raise FeatureError(family.name, f"key family {family.name!r} is via {family.via!r} with neighbours "
                                                f"{family.neighbours}; co_click needs at least 1, match none")

    def fields(self, side: Literal["user", "item"], kind: Kind) -> list[str]:
        """Names of the fields of one kind, in declaration order."""
        group = self.user_fields if side == "user" else self.item_fields
        return [f.name for f in group if f.kind == kind]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Reads what `to_json` wrote.

        Raises:
            FeatureError: a key is missing or unknown.
        """
        try:
            return cls(**{**data,
                          "user_fields": tuple(FieldSpec(**f) for f in data["user_fields"]),
                          "item_fields": tuple(FieldSpec(**f) for f in data["item_fields"]),
                          "tasks": tuple(TaskSpec(**t) for t in data["tasks"]),
                          "key_families": tuple(KeyFamily(**k) for k in data["key_families"])})
        except (TypeError, KeyError) as error:
            raise FeatureError("features.json", f"features.json is not a FeatureSpec: {error}; see the README, "
                                                "'Bring your own log'") from error


@dataclass(frozen=True)
class Features:
    """Encoded features of N users or N items.

    Attributes:
        dense: (N, number of dense fields) float32, standardised.
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


def as_key(value: object, name: str) -> bytes:
    """The canonical bytes of an id or a categorical value.

    Raises:
        FeatureError: neither text nor an integer, empty, too long, or with a NUL.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        raise FeatureError(name, f"{name} {short(value)} is a {type(value).__name__}; give text or an integer")
    try:
        key = str(value).encode()
    except UnicodeEncodeError as error:
        raise FeatureError(name, f"{name} is not valid Unicode text; remove the lone surrogate") from error
    if not key:
        raise FeatureError(name, f"{name} is empty; give at least one character")
    if len(key) > MAX_ID_BYTES:
        raise FeatureError(name, f"{name} has {len(key)} bytes; at most {MAX_ID_BYTES} are allowed")
    if b"\0" in key:
        raise FeatureError(name, f"{name} {value!r} contains a NUL character; remove it")
    return key


def look_up(sorted_keys: NDArray[np.bytes_], keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Index of each key in a sorted array of unique keys, -1 where it is not there. Shapes: (V,), (N,) -> (N,)."""
    if not len(sorted_keys):
        return np.full(len(keys), -1, np.int64)
    # Between arrays of different widths numpy would first copy the whole vocabulary to the wider one, at each request.
    # A key that is cut to the vocabulary's width can only meet an entry that the full comparison then tells apart.
    at = np.minimum(np.searchsorted(sorted_keys, keys.astype(sorted_keys.dtype)), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == keys, at, -1).astype(np.int64)


@dataclass(frozen=True)
class FeatureEncoder:
    """A FeatureSpec with what was fitted on the log: vocabularies and the scale of the dense fields.

    Attributes:
        vocabularies: `user.<field>` and `item.<field>` -> (V,) sorted unique bytes; the id of entry v is v + 1.
        scales: `user.<field>` and `item.<field>` -> (mean, standard deviation) of a dense field.
        item_ids: (n_items,) sorted unique bytes; an item's row is its index here.
    """

    spec: FeatureSpec
    vocabularies: Mapping[str, NDArray[np.bytes_]]
    scales: Mapping[str, tuple[float, float]]
    item_ids: NDArray[np.bytes_] = field(repr=False)

    def vocabulary_size(self, side: Literal["user", "item"], name: str) -> int:
        """Number of ids of a field, the unknown id included."""
        return len(self.vocabularies[f"{side}.{name}"]) + 1

    def keys_of_family(self, family: KeyFamily) -> int:
        """Number of distinct keys of a family, the unknown one included: items are keyed by row + 1."""
        if family.item_field == ITEM_ID:
            return len(self.item_ids) + 1
        return self.vocabulary_size("item", family.item_field)

    def encode_values(self, side: Literal["user", "item"], name: str, keys: NDArray[np.bytes_]) -> NDArray[np.int32]:
        """Vocabulary ids (N,) int32 of canonical values (N,), UNKNOWN where a value is not in the vocabulary."""
        return (look_up(self.vocabularies[f"{side}.{name}"], keys) + 1).astype(np.int32)

    def encode_user(self, raw: Mapping[str, object]) -> Features:
        """Encodes the user fields of one request; a field that is missing or None becomes the mean or UNKNOWN.

        Args:
            raw: field name -> float, value, or list of values.

        Returns:
            Features of one row.

        Raises:
            FeatureError: unknown field, wrong type, NaN or infinity, too many values.
        """
        known = {f.name for f in self.spec.user_fields}
        for name in raw:
            if name not in known:
                raise FeatureError(name, f"user feature {name!r} is unknown; this bundle knows {sorted(known)}")
        dense = [self._dense(name, raw.get(name)) for name in self.spec.fields("user", "dense")]
        categorical = [self._one(name, raw.get(name)) for name in self.spec.fields("user", "categorical")]
        multi = [self._many(name, raw.get(name)) for name in self.spec.fields("user", "multi")]
        return Features(np.array(dense, np.float32).reshape(1, -1), np.array(categorical, np.int32).reshape(1, -1),
                        tuple(Ragged.of([ids]) for ids in multi))

    def encode_history(self, item_ids: Sequence[object]) -> NDArray[np.int32]:
        """Item rows (M,) int32 of a history, most recent first; unknown items are left out.

        Raises:
            FeatureError: an entry is no id, or there are more than MAX_LIST.
        """
        rows = look_up(self.item_ids, self._keys("history", item_ids))
        return rows[rows >= 0][: self.spec.history_length].astype(np.int32)

    def _dense(self, name: str, value: object) -> float:
        mean, deviation = self.scales[f"user.{name}"]
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            kind = type(value).__name__
            raise FeatureError(name, f"user feature {name!r} is {short(value)}, a {kind}; give a number")
        if abs(value) > float(np.finfo(np.float32).max) or not math.isfinite(value):
            raise FeatureError(name, f"user feature {name!r} is {value!r:.40}; give a finite 32-bit number")
        return float(np.clip((value - mean) / deviation, -1e6, 1e6))

    def _one(self, name: str, value: object) -> int:
        if value is None:
            return UNKNOWN
        return int(self.encode_values("user", name, np.array([as_key(value, name)]))[0])

    def _many(self, name: str, value: object) -> NDArray[np.int32]:
        if value is None:
            return np.empty(0, np.int32)
        ids = self.encode_values("user", name, self._keys(name, value))
        known: NDArray[np.int32] = ids[ids != UNKNOWN]
        return known

    @staticmethod
    def _keys(name: str, values: object) -> NDArray[np.bytes_]:
        if not isinstance(values, list | tuple):
            raise FeatureError(name, f"{name} is a {type(values).__name__}; give a list of values")
        if len(values) > MAX_LIST:
            raise FeatureError(name, f"{name} has {len(values)} values; at most {MAX_LIST} are allowed")
        return np.array([as_key(value, name) for value in values] or [], dtype=f"S{MAX_ID_BYTES}")
