"""Progress bars: redrawn in place on a terminal, a line a minute anywhere else."""

from __future__ import annotations

import math
import time
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 60.0
"""Between two lines of a bar where there is no terminal; work that ends sooner writes none."""


class Bar(tqdm):  # type: ignore[type-arg]
    """A tqdm bar that is fit for log files: arguments and use are those of tqdm.

    Attributes:
        shown: whether bars of this process are to be seen; not where another one does the same work.
    """

    shown = True

    _line_due: float | None = None
    _lines = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **({} if self.shown else {"disable": True}) | options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draws the bar, or writes a line if one is due."""
        if self._on_terminal:
            super().display(msg, pos)
            return
        now = time.monotonic()
        if self._line_due is None:
            self._line_due = now + LINE_SECONDS
        elif now >= self._line_due:
            self._line_due = now + LINE_SECONDS
            self._write_line()

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """Takes the bar off the terminal, so that a line can be written."""
        if self._on_terminal:
            super().clear(*args, **kwargs)

    def close(self) -> None:
        """Ends the bar; if it has written lines, with a last one."""
        if not self.disable and not self._on_terminal:
            if self._lines:
                self._write_line()
            self.delay = math.inf  # as one that never showed: nothing to wipe out
        super().close()

    @property
    def _on_terminal(self) -> bool:
        return bool(self.fp.isatty())

    def _write_line(self) -> None:
        self._lines += 1
        self.fp.write(f"{self}\n")
        self.fp.flush()
