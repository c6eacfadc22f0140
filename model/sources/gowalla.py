"""Gowalla: check-ins in the LightGCN split, `train.npz` and `test.npz` of users x items, all ids and no fields."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from scipy import sparse

from index_store.declaration.spec import FeatureSpec, KeyFamily, TaskSpec
from model.data.tables import DataError, write_folder
from model.progress.bars import Bar
from model.sources.lines import as_text, positives

SPEC = FeatureSpec(
    user_fields=(),
    item_fields=(),
    tasks=(TaskSpec("visit"),),
    negatives="sampled",
    key_families=(KeyFamily("item_to_item", "ad_id", "co_click", 100),
                  KeyFamily("similar_users", "ad_id", "similar_users", 50)),
    history_length=50,
    history_ordered=False,
)


def write(source: Path, out: Path) -> None:
    """Turns the source folder into a data folder.

    Raises:
        DataError: a file is missing or is not a SciPy sparse matrix, or the two differ in shape.
    """
    with Bar(total=3, desc="gowalla", unit="file") as bar:
        matrices = []
        for name in ("train.npz", "test.npz"):
            matrices.append(_read(source / name))
            bar.update()
        train, test = matrices
        if train.shape != test.shape:
            raise DataError(f"{source}: train.npz has shape {train.shape}, test.npz {test.shape}; both are "
                            "users x items of one split")
        users, items = (np.arange(n) for n in train.shape)
        write_folder(out, SPEC, pa.table({"user_id": as_text(users)}), pa.table({"ad_id": as_text(items)}),
                     *(positives(m.row, m.col, visit=np.ones(m.nnz, np.int8)) for m in (train, test)))
        bar.update()


def _read(path: Path) -> sparse.coo_array:
    if not path.is_file():
        raise DataError(f"{path} does not exist; --source must name the folder that holds it")
    try:
        return sparse.coo_array(sparse.load_npz(path))
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise DataError(f"{path} is not a SciPy sparse matrix: {error}; fetch it again") from error
