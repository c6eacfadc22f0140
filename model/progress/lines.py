"""Lines for people, on standard error, above any progress bar."""

from __future__ import annotations

import sys

from tqdm import tqdm


def tell(line: str) -> None:
    """Writes a line."""
    tqdm.write(line, file=sys.stderr)
