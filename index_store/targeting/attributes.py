"""Attributes: the user and context values of one request that the ads' predicates read, in comparable form.

Stored users and ads exist only in encoded form, so dense fields are compared as `standardised` encodes them, bounds
like values. Categorical and multi-valued fields are compared as text, so that a predicate can name a value that no user
in training had.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from index_store.declaration.spec import FieldSpec
from index_store.declaration.values import FeatureError, as_key, as_keys, as_number
from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features
from index_store.features.vocabulary import standardised
from index_store.targeting.geography import Position, as_position
from index_store.targeting.predicates import Within

Attribute = float | list[bytes] | Position
"""The encoded value of a dense field, a position, or the values of another field."""

Attributes = Mapping[str, Attribute]
"""Field -> attribute. A missing value has no entry."""


def request_attributes(encoder: FeatureEncoder, fields: Collection[str], *, stored: Features | None,
                       given: Mapping[str, Any], context: Mapping[str, Any]) -> Attributes:
    """The attributes of one request.

    Args:
        encoder: of the bundle.
        fields: names of the fields that are needed.
        stored: features of the bundle's user table, one row; None for an unknown user.
        given: user features in the request, as they came; each replaces the stored one.
        context: context fields in the request, as they came, checked by `check_context`.

    Raises:
        FeatureError: a value cannot be encoded.
    """
    attributes: dict[str, Attribute | None] = {}
    for field in encoder.spec.user_fields:
        if field.name not in fields:
            continue
        if field.name in given:
            attributes[field.name] = _given(encoder, field, given[field.name], field.name)
        elif stored is not None:
            attributes[field.name] = _stored(encoder, field, stored)
    for field in encoder.spec.context_fields:
        if field.name in fields and field.name in context:
            attributes[field.name] = _given(encoder, field, context[field.name], field.name)
    return {name: value for name, value in attributes.items() if value is not None}


def check_context(encoder: FeatureEncoder, context: Mapping[str, Any]) -> None:
    """Checks a request's context.

    Raises:
        FeatureError: a field is unknown or its value cannot be encoded; `name` is `context.<field>`.
    """
    known = {field.name: field for field in encoder.spec.context_fields}
    for name, value in context.items():
        if name not in known:
            raise FeatureError(f"context.{name}", f"context field {name!r} is unknown",
                               f"this bundle knows {sorted(known) or 'none'}")
        _given(encoder, known[name], value, f"context.{name}")


def encoded_bounds(encoder: FeatureEncoder, side: Literal["user", "item"], clause: Within) -> tuple[float, float]:
    """Encoded bounds of a clause, infinite where it has none; context fields (side `user`) are not scaled."""
    lower, upper = clause.at_least, clause.at_most
    return (-np.inf if lower is None else _encoded(encoder, f"{side}.{clause.field}", lower),
            np.inf if upper is None else _encoded(encoder, f"{side}.{clause.field}", upper))


def _encoded(encoder: FeatureEncoder, name: str, value: float) -> float:
    scale = encoder.scales.get(name)
    return float(np.float32(value)) if scale is None else float(standardised(value, scale))


def _given(encoder: FeatureEncoder, field: FieldSpec, value: object, label: str) -> Attribute | None:
    """A value in a request; `label` names it in errors."""
    if value is None:
        return None
    if field.kind == "dense":
        return _encoded(encoder, f"user.{field.name}", as_number(value, label))
    if field.kind == "location":
        return as_position(value, label)
    if field.kind == "categorical":
        return [as_key(value, label)]
    return as_keys(value, label).tolist() or None


def _stored(encoder: FeatureEncoder, field: FieldSpec, features: Features) -> Attribute | None:
    """A value of a stored user: features of one row."""
    column = encoder.spec.fields("user", field.kind).index(field.name)
    if field.kind == "dense":
        value = float(features.dense[0, column])
        return None if math.isnan(value) else value
    ids = features.multi[column].row(0) if field.kind == "multi" else features.categorical[0, column : column + 1]
    return encoder.vocabularies[f"user.{field.name}"][ids[ids != UNKNOWN] - 1].tolist() or None
