"""What predicates are asked about: the values of one user with its context, or of one ad, in comparable form.

Stored users and ads exist only in encoded form, so dense fields are compared as `standardised` encodes them, bounds
like values. Categorical and multi-valued fields are compared as text, so that a value that no training user had can
be targeted all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from index_store.features.encoder import ITEM_ID, UNKNOWN, FeatureEncoder, Features, FieldSpec
from index_store.features.values import FeatureError, as_key, as_keys, as_number, standardised
from index_store.targeting.predicates import Clause, OneOf, Within

Fact = float | list[bytes]
"""An encoded value of a dense field, or the values of another."""

Facts = Mapping[str, Fact]
"""Field -> fact. A missing value has no entry."""

Side = Literal["user", "item"]


def audience_facts(encoder: FeatureEncoder, fields: Collection[str], *, stored: Features | None,
                   given: Mapping[str, Any], context: Mapping[str, Any]) -> Facts:
    """The facts of one request.

    Args:
        encoder: of the bundle.
        fields: names of the fields that are needed.
        stored: features of the bundle's user table, one row; None for an unknown user.
        given: user features of the request as they came; each replaces the stored one.
        context: context fields of the request as they came, checked by `check_context`.

    Raises:
        FeatureError: a value is unfit.
    """
    facts: dict[str, Fact | None] = {}
    for field in encoder.spec.user_fields:
        if field.name not in fields:
            continue
        if field.name in given:
            facts[field.name] = _raw_fact(encoder, field, given[field.name], field.name)
        elif stored is not None:
            facts[field.name] = _stored_fact(encoder, "user", field, stored, 0)
    for field in encoder.spec.context_fields:
        if field.name in fields and field.name in context:
            facts[field.name] = _raw_fact(encoder, field, context[field.name], field.name)
    return {name: fact for name, fact in facts.items() if fact is not None}


def check_context(encoder: FeatureEncoder, context: Mapping[str, Any]) -> None:
    """Checks a request's context.

    Raises:
        FeatureError: a field is unknown or its value unfit; its `name` is `context.<field>`.
    """
    known = {field.name: field for field in encoder.spec.context_fields}
    for name, value in context.items():
        if name not in known:
            raise FeatureError(f"context.{name}", f"context field {name!r} is unknown",
                               f"this bundle knows {sorted(known) or 'none'}")
        _raw_fact(encoder, known[name], value, f"context.{name}")


def ad_facts(encoder: FeatureEncoder, items: Features, row: int) -> Facts:
    """The facts of one ad, its id included."""
    facts = {field.name: _stored_fact(encoder, "item", field, items, row) for field in encoder.spec.item_fields}
    facts[ITEM_ID] = [bytes(encoder.item_ids[row])]
    return {name: fact for name, fact in facts.items() if fact is not None}


def bounds(encoder: FeatureEncoder, side: Side, clause: Within) -> tuple[float, float]:
    """Encoded bounds of a clause, infinite where it has none; fields of the context are not scaled."""
    lower, upper = clause.at_least, clause.at_most
    return (-np.inf if lower is None else _encoded(encoder, side, clause.field, lower),
            np.inf if upper is None else _encoded(encoder, side, clause.field, upper))


def clause_holds(encoder: FeatureEncoder, side: Side, clause: Clause, facts: Facts) -> bool:
    """One clause by itself, for explanations; `side` is that of the facts, `user` including the context."""
    fact = facts.get(clause.field)
    if isinstance(clause, OneOf):
        return isinstance(fact, list) and not set(clause.values).isdisjoint(fact)
    lower, upper = bounds(encoder, side, clause)
    return isinstance(fact, float) and lower <= fact <= upper


def _encoded(encoder: FeatureEncoder, side: Side, name: str, value: float) -> float:
    scale = encoder.scales.get(f"{side}.{name}")
    return float(np.float32(value)) if scale is None else float(standardised(value, scale))


def _raw_fact(encoder: FeatureEncoder, field: FieldSpec, value: object, label: str) -> Fact | None:
    """A value of a request; `label` names it in errors."""
    if value is None:
        return None
    if field.kind == "dense":
        return _encoded(encoder, "user", field.name, as_number(value, label))
    if field.kind == "categorical":
        return [as_key(value, label)]
    return as_keys(value, label).tolist() or None


def _stored_fact(encoder: FeatureEncoder, side: Side, field: FieldSpec, features: Features, row: int) -> Fact | None:
    column = encoder.spec.fields(side, field.kind).index(field.name)
    if field.kind == "dense":
        return float(features.dense[row, column])
    ids = features.multi[column].row(row) if field.kind == "multi" else features.categorical[row, column : column + 1]
    known = ids[ids != UNKNOWN]
    return encoder.vocabularies[f"{side}.{field.name}"][known - 1].tolist() or None
