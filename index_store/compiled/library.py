"""The compiled library: finds it beside this module and says what it makes of this processor."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

LEVELS = {1: "AVX2", 2: "AVX-512"}
"""Sets of instructions that the kernel is compiled for, by the number that the library gives them."""


@dataclass(frozen=True)
class Library:
    """The library, or the reason why there is none.

    Attributes:
        functions: the loaded library; None if the kernel cannot run here, and then sums by key do without it too.
        level: the set of instructions that this processor has, a key of LEVELS; 0 for none of them.
        note: one line for people, what runs or why nothing does.
    """

    functions: ctypes.CDLL | None
    level: int
    note: str


@cache
def library() -> Library:
    """The library of this installation, loaded at the first call."""
    folder = Path(__file__).parent
    found = [folder / f"_library{suffix}" for suffix in EXTENSION_SUFFIXES if (folder / f"_library{suffix}").exists()]
    if not found:
        return Library(None, 0, "the kernel was not compiled, since the installation found no C compiler")
    try:
        functions = ctypes.CDLL(str(found[0]))
    except OSError as error:
        return Library(None, 0, f"the compiled kernel cannot be loaded ({error})")
    for name in ("level", "score", "count_hits", "add_up"):
        getattr(functions, name).restype = ctypes.c_int64
    level = functions.level()
    if level not in LEVELS:
        return Library(None, 0, f"the kernel is compiled for {' and '.join(LEVELS.values())} alone, this is "
                                f"{platform.machine()} without them")
    return Library(functions, level, f"compiled kernel, {LEVELS[level]}")
