"""The predicates of ads, column `targeting` of `ads.parquet`: parsed, checked and deduplicated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.targeting.predicates import Predicate, PredicateError, parse_text
from model.data.tables import TARGETING, DataError


@dataclass(frozen=True)
class AdPredicates:
    """The distinct predicates of a data folder and the ads that have them.

    Attributes:
        distinct: the predicates, in the order of the first ad that has each.
        of_row: (n_items,) int32 by item row: 1 + index into `distinct`, 0 for ads that everyone may see.
    """

    distinct: tuple[Predicate, ...]
    of_row: NDArray[np.int32]


def read_predicates(path: Path, ids: pa.Array, texts: pa.Array, spec: FeatureSpec) -> AdPredicates | None:
    """Parses the predicates of ads; None if no ad has one.

    Args:
        path: named by errors.
        ids, texts: string arrays, one entry an ad; null or JSON.
        spec: declares the fields.

    Raises:
        DataError: a predicate is malformed or reads an unknown field; names the ad and the path inside the predicate.
    """
    encoded = pc.dictionary_encode(texts)
    numbers: dict[Predicate, int] = {}
    number_of_text = np.zeros(len(encoded.dictionary) + 1, np.int32)  # the last entry is for null
    for at, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            predicate = parse_text(text, spec.audience_kinds, TARGETING)
        except PredicateError as error:
            ad = ids[pc.index(texts, text).as_py()].as_py()
            raise DataError(f"{path}: ad {ad!r}: {error}") from error
        number_of_text[at] = numbers.setdefault(predicate, len(numbers) + 1)
    if not numbers:
        return None
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()
    return AdPredicates(tuple(numbers), number_of_text[codes])
