"""The nearest of some known names to one that is unknown, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: object, known: Iterable[object]) -> str | None:
    """The known name that resembles another one most, ignoring case; None if none does."""
    names = {str(one).lower(): str(one) for one in known}
    found = get_close_matches(str(name).lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def suggestion(name: object, known: Iterable[object]) -> str:
    """`did you mean 'x'? ` for the nearest known name, empty without one: to stand before what a message says to do."""
    found = nearest(name, known)
    return "" if found is None else f"did you mean {found!r}? "
