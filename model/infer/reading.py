"""Reads the log that people have into DuckDB: files, folders, databases, queries and data frames.

Every source becomes tables named by what they hold: `events`, and `users` and `ads` where there are any. Test events
that the log has are among the events, with a mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from index_store.declaration.nearest import nearest, suggestion
from index_store.declaration.values import FeatureError
from model.infer.columns import Column, literal, quoted, typed
from model.infer.csv_files import DELIMITERS, csv_query

T = TypeVar("T")

QUERY = "the query"

IS_TEST = "is_test_event__"
"""Column of the events that marks those of `test_events`, where the log has them."""

CSV, PARQUET, JSON, DATABASE = ("csv", "tsv", "txt"), ("parquet", "pq"), ("json", "jsonl", "ndjson"), ("duckdb", "ddb")
SUFFIXES = (*CSV, *PARQUET, *JSON, *DATABASE)

NAMES = {"test_events": ("test_events", "test"),
         "events": ("events", "event", "log", "interactions", "impressions", "clicks", "ratings", "views", "train"),
         "users": ("users", "user", "customers", "members"),
         "ads": ("ads", "ad", "items", "item", "products", "movies", "creatives", "articles", "catalogue", "catalog")}
"""What a table holds -> names of files and tables that say so."""

_QUERY = re.compile(r"\s*(select|from|with|attach|pivot|values)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Log:
    """The tables of a log in DuckDB: `events`, `users`, `ads`.

    Attributes:
        con: holds them.
        shown: what each is called in messages: its file, or the query.
        columns: of each, in order.
    """

    con: duckdb.DuckDBPyConnection
    shown: Mapping[str, str]
    columns: Mapping[str, list[Column]]

    @property
    def has_test(self) -> bool:
        """Whether the log has test events."""
        return "test_events" in self.shown

    def column(self, table: str, name: str) -> Column:
        """A column by its name.

        Raises:
            FeatureError: there is none.
        """
        for column in self.columns[table]:
            if column.name == name:
                return column
        names = [column.name for column in self.columns[table]]
        raise FeatureError(name, f"{self.shown[table]} has no column {name!r}",
                           f"{suggestion(name, names)}it has {', '.join(names)}")


def read_source(source: str) -> Log:
    """Reads a file, a folder, several files by a pattern, a DuckDB database, or the result of a query.

    Raises:
        FeatureError: it is none of them, or cannot be read.
    """
    con = _connected()
    if _QUERY.match(source) and not Path(source).exists():
        _load(con, "events", source, QUERY)
        return _log(con, {"events": QUERY})
    path = Path(source)
    if path.is_dir():
        return _folder(con, path)
    if not path.exists() and not any(mark in source for mark in "*?["):
        beside = [str(one) for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FeatureError("source", f"{source} does not exist", f"{suggestion(source, beside)}give a CSV or Parquet "
                           "file, a folder of them, a DuckDB file, or a query such as \"SELECT * FROM 'log/*.csv'\"")
    if _suffix(path) in DATABASE:
        return _database(con, path)
    _load(con, "events", _reader(source), source)
    return _log(con, {"events": source})


def read_frames(frames: Mapping[str, object]) -> Log:
    """Reads data frames of pandas or polars, or Arrow tables, by the name of what they hold.

    Raises:
        FeatureError: one is none of these, or has a column that is not one type.
    """
    con = _connected()
    for name, frame in frames.items():
        con.register("frame", _arrow(name, frame))
        _load(con, name, "SELECT * FROM frame", name)
        con.unregister("frame")
    return _log(con, {name: name for name in frames})


def _connected() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = true")
    shows_bars = con.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (True,)
    if shows_bars:  # a notebook without ipywidgets has none, and refuses to hear of them
        con.execute("SET enable_progress_bar = false")
    con.execute("SET TimeZone = 'UTC'")
    return con


def _log(con: duckdb.DuckDBPyConnection, shown: Mapping[str, str]) -> Log:
    for name, source in shown.items():
        if con.execute(f"SELECT 1 FROM raw_{name} LIMIT 1").fetchone() is None:
            raise FeatureError(name, f"{source} holds no row", "give at least one")
    if "test_events" in shown:
        con.execute(f"CREATE TABLE both_events AS SELECT *, false AS {IS_TEST} FROM raw_events UNION ALL BY NAME "
                    f"SELECT *, true AS {IS_TEST} FROM raw_test_events")
        con.execute("DROP TABLE raw_events")
        con.execute("ALTER TABLE both_events RENAME TO raw_events")
    columns = {name: typed(con, f"raw_{name}", name) for name in shown if name != "test_events"}
    columns["events"] = [column for column in columns["events"] if column.name != IS_TEST]
    return Log(con, shown, columns)


def _arrow(name: str, frame: object) -> pa.Table:
    try:
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        kind = type(frame)
        raise FeatureError(name, f"{name} is a {kind.__module__}.{kind.__name__}, which cannot be read as a table "
                                 f"({' '.join(str(error).split())[:200]})",
                           "give a frame of pandas or polars, or an Arrow table, whose columns have one type each"
                           ) from error
    return table.drop_columns([c for c in table.column_names if c.startswith("__index_level_")])


def _folder(con: duckdb.DuckDBPyConnection, folder: Path) -> Log:
    """A folder of tables with the names of NAMES, or of the parts of one table."""
    held = {one.name.split(".")[0].lower(): one for one in sorted(folder.iterdir())
            if not one.name.startswith((".", "_")) and "=" not in one.name
            and (one.is_dir() or _suffix(one) in SUFFIXES)}
    chosen = _by_name(held)
    if "events" not in chosen:
        kinds = {kind: sorted(one for one in folder.rglob(f"*.{kind}*") if one.is_file())
                 for kind in (*CSV, *PARQUET, *JSON)}
        files = max(kinds.values(), key=len)
        if not files:
            raise FeatureError("source", f"{folder} is a folder without {', '.join(SUFFIXES)} files",
                               "name the folder that holds the log")
        if len({_header(con, one) for one in files}) > 1:
            raise FeatureError("source", f"the files of {folder} are of different tables: "
                                         f"{', '.join(one.name for one in files[:8])}",
                               "name them events, users and ads, or give one file or a query over them")
        chosen = {"events": folder}
    for name, path in chosen.items():
        _load(con, name, _reader(str(path)), str(path))
    return _log(con, {name: str(path) for name, path in chosen.items()})


def _header(con: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, ...]:
    query = _reader(str(path))
    return tuple(sorted(name for name, *_ in con.execute(f"DESCRIBE {query}").fetchall()))


def _by_name(held: Mapping[str, T]) -> dict[str, T]:
    """What there is -> the file or table that holds it, by names."""
    return {name: next(held[known] for known in names if known in held)
            for name, names in NAMES.items() if any(known in held for known in names)}


def _database(con: duckdb.DuckDBPyConnection, path: Path) -> Log:
    try:
        con.execute(f"ATTACH {literal(str(path))} AS log (READ_ONLY)")
    except duckdb.Error as error:
        raise FeatureError("source", f"{path} is no DuckDB database: {_short(error)}", "write it again") from error
    held = {row[0].lower(): row[0] for row in con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'log' UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE database_name = 'log' AND NOT internal").fetchall()}
    chosen = _by_name(held) if len(held) != 1 else {"events": next(iter(held.values()))}
    if "events" not in chosen:
        raise FeatureError("source", f"{path} has the tables {', '.join(held.values()) or '(none)'}, and none is named "
                                     "events", "give a query, such as \"ATTACH "
                                     f"'{path}' AS log; SELECT * FROM log.{next(iter(held.values()), 'clicks')}\"")
    for name, table in chosen.items():
        _load(con, name, f"SELECT * FROM log.{quoted(table)}", f"{path}:{table}")
    return _log(con, {name: f"{path}:{table}" for name, table in chosen.items()})


def _suffix(path: Path) -> str:
    """Kind of a file by its name: `csv` of `log.csv.gz`; empty for a folder."""
    parts = path.name.lower().split(".")[1:]
    return next((part for part in parts if part in SUFFIXES), parts[-1] if parts else "")


def _reader(source: str) -> str:
    """A query that reads a file, the files of a pattern, or those of a folder, with its `key=value` folders.

    Raises:
        FeatureError: there is no file of a known kind.
    """
    path = Path(source)
    files = [path] if path.is_file() else sorted(
        one for one in (path.rglob("*") if path.is_dir() else map(Path, glob(source, recursive=True)))
        if one.is_file() and not one.name.startswith((".", "_")))
    kinds = {_suffix(one) for one in files}
    known = [kind for kind in SUFFIXES if kind in kinds]
    if not known and len(files) == 1 and _is_text(files[0]):
        return csv_query(files, partitions=False)
    if not known:
        kind = next(iter(sorted(kinds)), "")
        near = nearest(kind, SUFFIXES)
        raise FeatureError("source", f"{source} holds no file that can be read by its name" if len(files) != 1 else
                           f"{source} is a file of kind {kind or '(none)'!r} by its name",
                           f"{f'did you mean .{near}? ' if near else ''}give {', '.join(SUFFIXES)} (also .gz), or a "
                           "query")
    files = [one for one in files if _suffix(one) == known[0]]
    partitions = any("=" in part for part in files[0].parts[:-1])
    if known[0] in CSV:
        return csv_query(files, partitions=partitions)
    named = ", ".join(literal(str(one)) for one in files)
    options = "union_by_name = true" + (", hive_partitioning = true, hive_types_autocast = false" if partitions else "")
    if known[0] in PARQUET:
        return f"SELECT * FROM read_parquet([{named}], {options})"
    return f"SELECT * FROM read_json_auto([{named}], {options})"


def _is_text(path: Path) -> bool:
    """Whether a file begins with a line of text that has a delimiter."""
    with path.open("rb") as file:
        line = file.readline(1 << 16)
    return b"\0" not in line and any(mark.encode() in line for mark in DELIMITERS)


def _load(con: duckdb.DuckDBPyConnection, name: str, query: str, shown: str) -> None:
    """Makes the table `raw_<name>` of a query; of several statements, the last one is read.

    Raises:
        FeatureError: it cannot be read.
    """
    try:
        *first, last = duckdb.extract_statements(query) if shown == QUERY else [query]
        for statement in first:
            con.execute(statement)
        text = last if isinstance(last, str) else last.query
        con.execute(f"CREATE TABLE raw_{name} AS ({text.strip().rstrip(';')})")
    except duckdb.Error as error:
        raise FeatureError("source", f"{shown} cannot be read: {_short(error)}", "mend it and try again") from error


def _short(error: Exception) -> str:
    """The facts of DuckDB's message, which may have many lines, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    at = next((line for line in lines if "CSV Error on Line" in line), None)
    if at is None:
        return " ".join(line for line in lines if not set(line) <= {"^", " "} and not line.startswith("LINE "))[:300]
    fact = next((line for line in lines if line.startswith(("Expected", "Invalid unicode", "Value with"))), "")
    row = next((line for line in lines if line.startswith("Original Line")), "")
    return f"line {at.rsplit(' ', 1)[1]}: {fact.rstrip('.')} ({row.removeprefix('Original Line: ')[:60]!r})"
