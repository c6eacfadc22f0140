"""The bids of ads, columns `bid` and `bid_type` of `ads.parquet`, checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.value.bids import BID_TYPES, MOST_MICROS, NO_BID, AdBids
from model.data.checks import first_true
from model.data.parquet_table import ParquetTable
from model.data.tables import BID, BID_TYPE, DataError


def read_bids(table: ParquetTable, columns: Mapping[str, pa.Array], spec: FeatureSpec) -> AdBids | None:
    """The bids of a table's ads in the order of its rows; None if no ad has one.

    Args:
        table: of the ads.
        columns: those of BID and BID_TYPE that it has.
        spec: declares the labels that bids pay for.

    Raises:
        DataError: a column is missing, a bid is outside of its range, or nobody pays for its type; names the row.
    """
    if not columns:
        return None
    if len(columns) == 1:
        (found,) = columns
        missing = BID if found == BID_TYPE else BID_TYPE
        raise DataError(f"{table.path}: column {missing!r} is missing, the file has {found!r}; a bid needs both")
    micros, types = columns[BID], columns[BID_TYPE]
    for name, one, other in ((BID_TYPE, micros, types), (BID, types, micros)):
        at = first_true(pc.and_(pc.is_valid(one), pc.is_null(other)))
        if at >= 0:
            table.refuse(name, at, None, "is null beside a value in the other column of the bid",
                         "give both, or null in both")
    at = first_true(pc.or_(pc.less(micros, 1), pc.greater(micros, MOST_MICROS)))
    if at >= 0:
        table.refuse(BID, at, micros[at].as_py(), f"is outside 1..{MOST_MICROS}",
                     "give millionths of a unit of the currency, or null for no bid")
    at = first_true(pc.and_(pc.is_valid(types), pc.invert(pc.is_in(types, pa.array(spec.paid, pa.string())))))
    if at >= 0:
        table.refuse(BID_TYPE, at, types[at].as_py(), f"is none of {', '.join(spec.paid)}",
                     'give one of these, or declare in features.json the task that it pays for, such as {"name": '
                     '"click", "bid_type": "CPC"}')
    if micros.null_count == len(micros):
        return None
    numbers: NDArray[np.int32] = pc.fill_null(pc.index_in(types, pa.array(BID_TYPES, pa.string())), 0).to_numpy()
    return AdBids(pc.fill_null(micros, NO_BID).to_numpy().astype(np.int64), numbers.astype(np.uint8))
