"""CSV files: their header and delimiter, and the query that reads them as text.

DuckDB's own detection is not used: of a file with rows of two widths it makes one with a single column.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from index_store.declaration.values import FeatureError
from model.infer.columns import MISSING, literal

DELIMITERS = ",\t;|"


def csv_query(files: Sequence[Path], *, partitions: bool) -> str:
    """The query that reads CSV files as one table of text; a column that some of them lack is null there.

    Args:
        files: whose first lines hold the names of the columns.
        partitions: whether their folders are named `key=value`.

    Raises:
        FeatureError: a header cannot be used.
    """
    alike = defaultdict(list)
    for file in files:
        alike[_header(file)].append(file)
    missing = ", ".join(map(literal, MISSING))
    parts = []
    for (delimiter, names), own in alike.items():
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        parts.append(f"SELECT * FROM read_csv([{', '.join(literal(str(file)) for file in own)}], auto_detect = false, "
                     f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', header = true, "
                     f"columns = {{{columns}}}, nullstr = [{missing}], hive_partitioning = {str(partitions).lower()}"
                     + (", hive_types_autocast = false)" if partitions else ")"))
    return " UNION ALL BY NAME ".join(parts)


def _header(path: Path) -> tuple[str, tuple[str, ...]]:
    """Delimiter and column names of a file.

    Raises:
        FeatureError: it has none, a name twice, or a first line that looks like data.
    """
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            line = file.readline(1 << 16).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FeatureError("source", f"{path} cannot be read: {error}", "write it as UTF-8, with gzip if its name ends "
                           "in .gz") from error
    delimiter = max(DELIMITERS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    if not any(names):
        raise FeatureError("source", f"{path} has no header: its first line is empty", "begin it with the names of the "
                           "columns")
    data = next((name for name in names if _is_number(name)), None)
    if data is not None:
        raise FeatureError("source", f"{path} has no header: its first line {line.strip()[:60]!r} holds the number "
                                     f"{data}", "begin it with the names of the columns")
    names = [name or f"column_{at}" for at, name in enumerate(names)]  # pandas leaves the name of its index empty
    for name in names:
        if [one.lower() for one in names].count(name.lower()) > 1:
            raise FeatureError(name, f"{path} has the column {name!r} twice", "keep one, or rename it")
    return delimiter, tuple(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")
