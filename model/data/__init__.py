"""Data: the tables and the declaration of a log, checked once and read as arrays.

Uses pyarrow, numpy and scipy, and DuckDB where a declaration is guessed, and never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.data.proposed import from_frames

__all__ = ["from_frames"]


def __getattr__(name: str) -> Any:
    """Loads `from_frames`, and DuckDB with it, where it is used."""
    if name == "from_frames":
        from model.data.proposed import from_frames

        return from_frames
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
