"""A guess and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guess:
    """What was guessed, and why.

    Attributes:
        about: a column, or a key of the declaration.
        value: what it is taken for.
        why: the reason, in a sentence.
    """

    about: str
    value: str
    why: str
