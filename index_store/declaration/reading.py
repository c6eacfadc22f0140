"""Declarations: dataclasses read from decoded JSON, with errors that name the key and what to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from reprlib import repr as short
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from index_store.declaration.nearest import suggestion
from index_store.declaration.values import FeatureError

T = TypeVar("T")

_WANTED = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def read_declaration(kind: type[T], raw: object, path: str = "") -> T:
    """Reads a dataclass, and those inside its tuples, from decoded JSON. `kind` checks the choices itself.

    Args:
        kind: a dataclass whose fields are strings, numbers, truth values, literals, or tuples of such dataclasses.
        raw: the JSON.
        path: where it lies in the declaration, such as `user_fields[0]`; empty for all of it.

    Raises:
        FeatureError: a key is missing or unknown, or its value has the wrong type.
    """
    where, declared = path or "the declaration", {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(raw, Mapping):
        raise FeatureError(where, f"{where} is {short(raw)}", f"give {_object(kind)}")
    types = get_type_hints(kind)
    for name in raw:
        if name not in declared:
            raise FeatureError(where, f"{where} has the unknown key {name!r}",
                               f"{suggestion(name, declared)}use {', '.join(declared)}")
    for name, entry in declared.items():
        if name not in raw and _required(entry):
            raise FeatureError(where, f"{where} lacks the key {name!r}", f"give {_wanted(types[name])}")
    return kind(**{name: _value(types[name], value, f"{path}.{name}" if path else name)
                   for name, value in raw.items()})


def _value(kind: Any, value: object, path: str) -> object:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise FeatureError(path, f"{path} is {short(value)}", f"give {_wanted(kind)}")
        return tuple(_value(get_args(kind)[0], part, f"{path}[{at}]") for at, part in enumerate(value))
    if isinstance(kind, type) and is_dataclass(kind):
        return read_declaration(kind, value, path)
    if kind in _WANTED:
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise FeatureError(path, f"{path} is {short(value)}, of type {type(value).__name__}",
                               f"give {_wanted(kind)}")
    return value


def _wanted(kind: Any) -> str:
    if get_origin(kind) is tuple:
        entry = get_args(kind)[0]
        return f"a list, each entry {_WANTED[entry] if entry in _WANTED else _object(entry)}"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return _WANTED[kind]


def _object(kind: Any) -> str:
    return f"an object with {', '.join(entry.name for entry in fields(kind) if _required(entry))}"


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING
