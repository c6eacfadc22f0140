"""Single values: the canonical form of ids, categorical and dense values from a request or a table.

Ids and categorical values are compared as text: the integer 7 and the string "7" are the same value.
"""

from __future__ import annotations

import math
from reprlib import repr as short  # values of a request may be long, and nested deeper than repr can go

import numpy as np
from numpy.typing import NDArray

MAX_ID_BYTES = 128
"""Longest user id, ad id or categorical value, in UTF-8 bytes."""

MAX_LIST = 1_000
"""Most values in one multi-valued field or history of a request."""

LARGEST_WHOLE = 2.0**53
"""Up to here floats of 64 bits hold every whole number, and tables read them as integers."""

_ID_TYPES = (str, int, np.integer)  # made once: a request may hold thousands of ids


class FeatureError(ValueError):
    """A feature, id or declaration that cannot be used; the message is `fact; remedy`.

    Attributes:
        name: of the field.
        fact: what was found, with its value.
        remedy: what to do.
    """

    def __init__(self, name: str, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}; {remedy}")
        self.name, self.fact, self.remedy = name, fact, remedy


def as_key(value: object, name: str) -> bytes:
    """Canonical bytes of an id or a categorical value.

    Raises:
        FeatureError: it is neither text nor an integer, or empty, too long, or contains a NUL.
    """
    if isinstance(value, bool) or not isinstance(value, _ID_TYPES):
        value = _as_id(value, name)
    try:
        key = str(value).encode()
    except UnicodeEncodeError as error:
        raise FeatureError(name, f"{name} is not valid Unicode text", "remove the lone surrogate") from error
    if not key:
        raise FeatureError(name, f"{name} is empty", "give at least one character")
    if len(key) > MAX_ID_BYTES:
        raise FeatureError(name, f"{name} has {len(key)} bytes", f"at most {MAX_ID_BYTES} are allowed")
    if b"\0" in key:
        raise FeatureError(name, f"{name} {value!r} contains a NUL character", "remove it")
    return key


def _as_id(value: object, name: str) -> str | int:
    """The text or integer that another value stands for, as tables read it: true is `true`, and 7.0 is `7`.

    Raises:
        FeatureError: it stands for none.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE:
        return int(value)
    raise FeatureError(name, f"{name} {short(value)} is a {type(value).__name__}", "give text or an integer")


def as_keys(values: object, name: str) -> NDArray[np.bytes_]:
    """Canonical bytes (N,) of a list of ids or categorical values.

    Raises:
        FeatureError: it is not a list, is longer than MAX_LIST, or an entry is not a key.
    """
    if not isinstance(values, list | tuple):
        raise FeatureError(name, f"{name} is a {type(values).__name__}", "give a list of values")
    if len(values) > MAX_LIST:
        raise FeatureError(name, f"{name} has {len(values)} values", f"at most {MAX_LIST} are allowed")
    return np.array([as_key(value, name) for value in values] or [], dtype=f"S{MAX_ID_BYTES}")


def as_number(value: object, name: str) -> float:
    """The value of a dense field.

    Raises:
        FeatureError: it is not a number, or does not fit into 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FeatureError(name, f"{name} is {short(value)}, a {type(value).__name__}", "give a number")
    if abs(value) > float(np.finfo(np.float32).max) or not math.isfinite(value):
        raise FeatureError(name, f"{name} is {value!r:.40}", "give a finite 32-bit number")
    return float(value)
