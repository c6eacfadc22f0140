"""Files of recorded beams: checks their folder, and writes each Parquet file whole or not at all.

Their columns are those of index_store/tree/recorded_beams.py. pyarrow is imported only where beams are recorded.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from index_store.features.ragged import Ragged
from index_store.tree.recorded_beams import (
    BUNDLE_KEY,
    CATEGORICAL,
    DENSE,
    FORMAT,
    FORMAT_KEY,
    HISTORY,
    MULTI,
    TREE_KEY,
    RecordedBeams,
    level_column,
)

_VARIABLE = "RETRIEVAL_BEAM_FOLDER"


class BeamFolderError(Exception):
    """The folder cannot be written; the message has the folder and the reason."""


def check_folder(folder: Path) -> None:
    """Creates the folder if it is missing, and tries to write a file in it.

    Raises:
        BeamFolderError: the folder cannot be made or written.
    """
    probe = folder / f".probe.{secrets.token_hex(8)}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise BeamFolderError(f"{_VARIABLE} {folder} cannot be written ({os.strerror(error.errno or 0)}); make it "
                              "writable, name another folder, or set RETRIEVAL_BEAM_SAMPLE_RATE to 0") from error


def file_name(bundle_id: str) -> str:
    """A name that is unique among all processes; names sort by time."""
    return f"beams-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{bundle_id}-{secrets.token_hex(6)}.parquet"


def load_parquet() -> None:
    """Imports pyarrow, which takes a while, so it should happen before the first request."""
    import pyarrow.parquet  # noqa: F401


def write_beams(path: Path, beams: RecordedBeams, bundle_id: str, tree: str) -> None:
    """Writes a file under a temporary name and renames it, so that readers never see a partial file.

    Args:
        path: the file.
        beams: of one bundle.
        bundle_id: of that bundle.
        tree: digest of its tree.

    Raises:
        OSError: it cannot be written; nothing of it is left then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {DENSE: _rows(beams.features.dense), CATEGORICAL: _rows(beams.features.categorical),
               MULTI: _nested(beams.features.multi, len(beams)), HISTORY: _lists(beams.history)}
    columns |= {level_column(level): _lists(nodes) for level, nodes in enumerate(beams.kept, start=1)}
    table = pa.table(columns).replace_schema_metadata({FORMAT_KEY: FORMAT, BUNDLE_KEY: bundle_id, TREE_KEY: tree})
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("xb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _rows(values: np.ndarray[Any, Any]) -> Any:
    """(B, F) as an Arrow array of B lists."""
    import pyarrow as pa

    n, width = values.shape
    return pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * width, np.ascontiguousarray(values).ravel())


def _lists(rows: Ragged) -> Any:
    import pyarrow as pa

    return pa.ListArray.from_arrays(rows.indptr.astype(np.int32), pa.array(rows.values, pa.int32()))


def _nested(fields: tuple[Ragged, ...], n: int) -> Any:
    """An Arrow array of B lists, each with one list for each field."""
    import pyarrow as pa

    inner = Ragged.of([one.row(row) for row in range(n) for one in fields])
    return pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * len(fields), _lists(inner))
