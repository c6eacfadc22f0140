"""How far a run's tree has moved from that of the run before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.features.vocabulary import look_up
from model.config.errors import ConfigError
from model.data.load import as_bytes
from model.data.tables import ADS
from model.runs.checkpoint import RunFolder
from model.tree.matching import changed_prefixes


def tree_moves(before: Path, after: Path) -> dict[str, Any]:
    """Compares the trees of two runs.

    Returns:
        `ads` of the tree after, the share of the `new_ads` among them, the share of the others that `moved` to another
        leaf node, and `changed_prefixes`: the share whose path to each level changed, coarse to fine.

    Raises:
        ConfigError: a run has no tree.
    """
    (old_ids, old), (ids, codes) = _codes(before), _codes(after)
    row = look_up(old_ids, ids)
    placed = np.where(row[:, None] >= 0, old[row], np.int32(-1))
    prefixes = changed_prefixes(placed, codes)
    return {"ads": len(ids), "new_ads": float((row < 0).mean()), "moved": prefixes[-1], "changed_prefixes": prefixes}


def _codes(run: Path) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Sorted ids of the ads of a run, and their codes (n_items, levels)."""
    folder = RunFolder(run)
    codes = folder.load_modules({})
    if codes is None:
        raise ConfigError(f"{run} has no tree yet; resume it until it has learned one")
    ids = as_bytes(pq.read_table(folder.config()[1] / ADS, columns=["ad_id"])["ad_id"].combine_chunks())
    return np.sort(ids), codes
