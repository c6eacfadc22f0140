"""Inputs of the user and item towers: dense values, and a pooled bag of embedding-table rows for each sparse input.

Numpy (serving) and torch (training) share the bags; only the pooling is written twice. A bag's rows are
summed and divided by the square root of their number, so that its norm grows with its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID, FeatureSpec
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.ragged import Ragged


def history_fields(spec: FeatureSpec) -> list[str]:
    """Item fields whose values in a user's history the user tower reads."""
    return [ITEM_ID, *spec.fields("item", "categorical"), *spec.fields("item", "multi")]


def item_keys(spec: FeatureSpec, items: Features, name: str) -> Ragged:
    """Ids of one item field for every item row; for `ad_id` the row + 1, since 0 is the unknown id."""
    if name == ITEM_ID:
        return Ragged.singles(np.arange(1, len(items) + 1, dtype=np.int32))
    if name in spec.fields("item", "categorical"):
        column = items.categorical[:, spec.fields("item", "categorical").index(name)]
        return Ragged.singles(np.ascontiguousarray(column))
    return items.multi[spec.fields("item", "multi").index(name)]


def all_item_keys(spec: FeatureSpec, items: Features) -> dict[str, Ragged]:
    """`item_keys` of every field that histories and key families can use."""
    found = {name: item_keys(spec, items, name) for name in history_fields(spec)}
    singles, one_valued = found[ITEM_ID], spec.fields("item", "categorical")
    # Those with one value an item share the lengths: 80 MB a field of ten million ads.
    return {name: singles.with_values(keys.values) if name in one_valued else keys for name, keys in found.items()}


def table_sizes(encoder: FeatureEncoder) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of each embedding table, in the order that pooled vectors are concatenated in: (user, item)."""
    spec = encoder.spec

    def size(name: str) -> int:
        return len(encoder.item_ids) + 1 if name == ITEM_ID else encoder.vocabulary_size("item", name)

    user = {f"user.{name}": encoder.vocabulary_size("user", name)
            for name in (*spec.fields("user", "categorical"), *spec.fields("user", "multi"))}
    user |= {f"history.{name}": size(name) for name in history_fields(spec)}
    return user, {f"item.{name}": size(name) for name in history_fields(spec)}


def user_bags(spec: FeatureSpec, features: Features, history: Ragged, keys: Mapping[str, Ragged]) -> dict[str, Ragged]:
    """Table name -> ids of N users.

    Args:
        features: N users.
        history: N rows of item rows, most recent first; the towers read the first `history_length` of them.
        keys: `all_item_keys` of the catalogue.
    """
    history = history.heads(spec.history_length)
    one_each = Ragged.singles(np.zeros(len(features), np.int32))
    bags = {f"user.{name}": one_each.with_values(features.categorical[:, c])
            for c, name in enumerate(spec.fields("user", "categorical"))}
    bags |= {f"user.{name}": bag for name, bag in zip(spec.fields("user", "multi"), features.multi, strict=True)}
    for name in history_fields(spec):
        if keys[name].one_each:
            bags[f"history.{name}"] = history.with_values(keys[name].values.take(history.values))
        else:
            of_items = keys[name].take(history.values)
            bags[f"history.{name}"] = Ragged(of_items.indptr[history.indptr], of_items.values)
    return bags


def item_bags(spec: FeatureSpec, rows: NDArray[np.integer], keys: Mapping[str, Ragged]) -> dict[str, Ragged]:
    """Table name -> ids of the items at `rows` (N,)."""
    return {f"item.{name}": keys[name].take(rows) for name in history_fields(spec)}


def dense_width(spec: FeatureSpec, side: Literal["user", "item"]) -> int:
    """Width of `dense_inputs`."""
    return len(spec.fields(side, "dense")) + len(spec.optional_columns(side))


def dense_inputs(spec: FeatureSpec, side: Literal["user", "item"], dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a tower reads of dense fields (N, dense fields): the mean, 0, where a value is missing, then the flags.

    Returns:
        (N, dense_width) float32; a flag for each optional field, 1 where its value is missing.
    """
    optional = spec.optional_columns(side)
    if not optional:
        return dense
    missing = np.isnan(dense)
    return np.concatenate([np.where(missing, np.float32(0), dense), missing[:, optional].astype(np.float32)], axis=1)


def pool(tables: Mapping[str, NDArray[np.float32]], dense: NDArray[np.float32],
         bags: Mapping[str, Ragged]) -> NDArray[np.float32]:
    """The tower's input: (N, dense_width + sum of table widths) float32.

    Neighbouring tables whose bags have the same lengths, as those of all categorical fields of a history, are summed
    together: with a hundred fields, a table then costs one gather.

    Args:
        tables: name -> (rows, width) float32; may be memory-mapped.
        dense: (N, dense_width) float32, `dense_inputs`.
        bags: name -> N bags.
    """
    pooled = []
    for _, group in groupby(bags.items(), key=lambda entry: id(entry[1].indptr)):
        alike = list(group)
        rows = np.concatenate([tables[name].take(bag.values, axis=0) for name, bag in alike], axis=1)
        pooled.append(_summed(rows, alike[0][1]))
    return np.concatenate([dense, *pooled], axis=1)


def _summed(rows: NDArray[np.float32], bag: Ragged) -> NDArray[np.float32]:
    """Sum of each bag's rows (M, width) over the square root of their number: (N, width)."""
    if bag.one_each:
        return rows
    lengths = bag.lengths
    pooled = np.zeros((len(bag), rows.shape[1]), np.float32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        sums = np.add.reduceat(rows, bag.indptr[filled], axis=0)
        pooled[filled] = sums / np.sqrt(lengths[filled, None], dtype=np.float32)
    return pooled
