"""Windows: what a log gained in some time, in the layout of a data folder, one folder a window.

    events.parquet   the impressions of the window, with the columns of a log
    ads.parquet      ads that are new in it, as a log's table of ads
    ended.parquet    ids of the ads that ended before its first event

They are read by the `features.json` of the log that they continue.
"""

from __future__ import annotations

from pathlib import Path

from model.data.tables import DAYS

ENDED = "ended.parquet"


def day_folder(folder: Path, day: int) -> Path:
    """The window of a day, from 1, of the moving world in a data folder."""
    return folder / DAYS / f"{day:03d}"
