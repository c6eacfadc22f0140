"""Command-line flags of settings: a field carries its `Flag`, and `train_flags` makes an argument of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config.errors import ConfigError


@dataclass(frozen=True)
class Flag:
    """A command-line flag of a field.

    Attributes:
        help: what the setting does; the default is appended.
        name: without the leading dashes; empty for the name of the field.
        metavar: placeholder of the value in the help.
        parse: from the text of the argument to the value, may raise ConfigError; None for numbers and choices, which
            the type of the field describes.
        many: whether the flag takes several values.
    """

    help: str
    name: str = ""
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    many: bool = False


def flag(help: str, **options: Any) -> dict[str, Flag]:
    """Metadata of a field that has a flag; arguments as for `Flag`."""
    return {"flag": Flag(help, **options)}


def like(example: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser that shows an example when `read` cannot read the text."""
    def parse(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{text!r} is not like {example}") from error

    return parse


def absolute(text: str) -> str:
    """A path that does not depend on the working directory."""
    return str(Path(text).resolve())
