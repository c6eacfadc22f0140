"""Cells: results of one configuration with one seed, each a JSON file that is written once.

A cell is found by its content, not by the table that needs it, so that tables share cells.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config.errors import ConfigError
from model.data.parquet_files import open_parquet, part_files

CELLS = "cells"


@dataclass(frozen=True)
class Cell:
    """One configuration with one seed.

    Attributes:
        kind: how it is run; only cells of the same kind can be the same cell.
        slug: readable name of the configuration.
        settings: all that the result depends on besides data and seed, as JSON values.
        seed: of everything random.
    """

    kind: str
    slug: str
    settings: Mapping[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """Short hash of all but the slug."""
        content = json.dumps([self.kind, self.settings, self.seed], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        return f"{self.slug}-seed{self.seed}-{self.key}"


@dataclass(frozen=True)
class Report:
    """The table of finished cells.

    Attributes:
        markdown: the table, with the paper's figures beside it where it has them.
        data: the same as JSON.
        draw: draws a plot into a PNG file, for tables that have one.
    """

    markdown: str
    data: Mapping[str, Any]
    draw: Callable[[Path], None] | None = None


Done = tuple[Cell, Mapping[str, Any]]
"""A cell and its result."""


@dataclass(frozen=True)
class Experiment:
    """One table.

    Attributes:
        name: on the command line.
        about: one line.
        check: raises ConfigError or DataError if a data folder cannot be used.
        configurations: (data folder, small) -> (kind, slug, settings) of each row; `small` is a size that CI can run.
        run: (cell, data folder, work folder) -> result, as JSON. The work folder survives an interruption and is
            removed when the cell is finished.
        report: finished cells, row by row and seed by seed -> the table.
    """

    name: str
    about: str
    check: Callable[[Path], None]
    configurations: Callable[[Path, bool], Sequence[tuple[str, str, Mapping[str, Any]]]]
    run: Callable[[Cell, Path, Path], Mapping[str, Any]]
    report: Callable[[Sequence[Done]], Report]


class Results:
    """The folder of results for one data set: `cells/*.json`, and for each table Markdown, JSON and plot.

    Args:
        path: the folder; it need not exist.
        data: the data folder.

    Raises:
        ConfigError: it holds cells of another data set, or a file that is not a cell.
    """

    def __init__(self, path: Path, data: Path) -> None:
        self.path = path
        self.data = {"name": data.resolve().name, "fingerprint": fingerprint(data)}
        for file in sorted((path / CELLS).glob("*.json")):
            other = _read(file)["data"]
            if other["fingerprint"] != self.data["fingerprint"]:
                raise ConfigError(f"{file} is a result on {other['name']} ({other['fingerprint']}), but {data} is "
                                  f"{self.data['fingerprint']}; name another --out for this data")

    def find(self, cell: Cell) -> Mapping[str, Any] | None:
        """The result of a cell, or None if it has not been run."""
        for file in (self.path / CELLS).glob(f"*-{cell.key}.json"):
            result: Mapping[str, Any] = _read(file)["result"]
            return result
        return None

    def keep(self, cell: Cell, result: Mapping[str, Any], seconds: float) -> None:
        """Writes the result of a cell in one step."""
        content = {"kind": cell.kind, "settings": cell.settings, "seed": cell.seed, "data": self.data,
                   "seconds": round(seconds, 1), "result": result}
        _replace(self.path / CELLS / f"{cell.name}.json", content)

    def write(self, name: str, report: Report) -> list[Path]:
        """Writes a table as Markdown, JSON and plot; returns the files."""
        markdown, data, plot = (self.path / f"{name}.{ending}" for ending in ("md", "json", "png"))
        _replace(data, report.data)
        markdown.write_text(report.markdown)
        if report.draw is None:
            return [markdown, data]
        report.draw(plot)
        return [markdown, data, plot]


def fingerprint(data: Path) -> str:
    """16 hex digits of the content of a data folder, independent of how a library encoded its files.

    Files and tables count, be they one file or a folder of part files; other folders, such as `truth/`, do not.

    Raises:
        ConfigError: it is empty.
        DataError: a table is not Parquet.
    """
    digest, files = hashlib.sha256(), _files(data)
    if not files:
        raise ConfigError(f"{data} holds no data; name a folder that `python -m model data` wrote")
    for path in files:
        digest.update(path.relative_to(data).as_posix().encode() + b"\0")
        if path.suffix == ".parquet" or path.parent != data:
            with open_parquet(path) as file:
                for batch in file.iter_batches():
                    digest.update(batch.serialize())
        else:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _files(data: Path) -> list[Path]:
    """The files of a data folder, in order; a table that is a folder stands for its part files."""
    files: list[Path] = []
    for path in sorted(data.glob("*")):
        if path.is_file():
            files.append(path)
        elif path.suffix == ".parquet":
            files += [part for part, _ in part_files(path, [])]
    return files


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(file.read_bytes())
        if not {"data", "result"} <= set(content):
            raise ValueError(f"it has {', '.join(content)}")
    except ValueError as error:
        raise ConfigError(f"{file} holds no result of a cell ({error}); remove it to run the cell again") from error
    return content


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(partial, path)
