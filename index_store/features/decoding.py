"""Decoding: encoded features of a row as values that a person can read."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features

DIGITS = 6
"""Significant digits of a dense value: standardised and back, 32 bits hold no more."""


def decoded(encoder: FeatureEncoder, side: Literal["user", "item"], features: Features, row: int) -> dict[str, Any]:
    """Field -> value, or list of values, of a row in order of declaration.

    A categorical value is None if it is missing or was never seen; such values of a list are left out.
    """
    values: dict[str, Any] = {}
    for at, name in enumerate(encoder.spec.fields(side, "dense")):
        mean, deviation = encoder.scales[f"{side}.{name}"]
        values[name] = float(f"{mean + deviation * float(features.dense[row, at]):.{DIGITS}g}")
    for at, name in enumerate(encoder.spec.fields(side, "categorical")):
        number = int(features.categorical[row, at])
        values[name] = None if number == UNKNOWN else _text(encoder, side, name, np.array([number]))[0]
    for at, name in enumerate(encoder.spec.fields(side, "multi")):
        values[name] = _text(encoder, side, name, features.multi[at].row(row))
    declared = encoder.spec.user_fields if side == "user" else encoder.spec.item_fields
    return {field.name: values[field.name] for field in declared}


def _text(encoder: FeatureEncoder, side: str, name: str, ids: NDArray[np.integer]) -> list[str]:
    known = ids[ids != UNKNOWN]
    values: list[bytes] = encoder.vocabularies[f"{side}.{name}"][known - 1].tolist()
    return [value.decode() for value in values]
