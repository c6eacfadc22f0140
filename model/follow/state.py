"""How far a follower has come: one small file, replaced when a window is finished and at no other time.

Everything of a window that is not finished lies in the window's folder. A follower that is killed finds there what it
has done, or does it again from the same window.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from model.config.errors import ConfigError

STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class FollowerState:
    """What is finished.

    Attributes:
        window: number of the last finished window, 0 before the first.
        sequence: of the change log, the last entry that was learned.
        ended_at: when that window ended, in seconds since 1970.
        change_log_id: of that log; empty before the first window.
        run: folder of the run that serves and that the next one starts from.
        log: data folder of everything that is kept of the log.
        most_events: that are kept, as many as the first run was trained on.
    """

    window: int
    sequence: int
    change_log_id: str
    ended_at: float
    run: str
    log: str
    most_events: int

    @classmethod
    def read(cls, folder: Path) -> FollowerState | None:
        """The state in the folder of a follower; None if it has not begun.

        Raises:
            ConfigError: the file cannot be read.
        """
        path = folder / STATE
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{path} is not the state of a follower ({error!r}); restore it, or name another --out"
                              ) from error

    def write(self, folder: Path) -> None:
        """Replaces the state; it is on disk when this returns."""
        partial = folder / f"{STATE}.partial"
        with partial.open("w") as file:
            file.write(json.dumps(asdict(self), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / STATE)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
