"""`python -m model experiment`: runs the missing cells of one of the paper's tables, then writes the table."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from model.config.errors import ConfigError
from model.experiments import (
    ablation,
    context,
    domains,
    exfm,
    node_pair_runs,
    overlap,
    sizes,
    table1,
    table3,
    table4,
    table5,
    variants,
    zipper,
)
from model.experiments.cells import Cell, Experiment, Results
from model.progress.bars import Bar

EXPERIMENTS: dict[str, Experiment] = {e.name: e for e in (
    table1.TABLE, table3.TABLE3, table4.TABLE, table5.TABLE, table3.TABLE6, table3.TABLE7, overlap.TABLE,
    node_pair_runs.TABLE, variants.TABLE, ablation.TABLE, context.TABLE, domains.TABLE, zipper.TABLE, exfm.TABLE,
    sizes.TABLE)}

RESULTS = Path("docs/results")
WORK = Path("build/experiments")
"""Work folders of unfinished cells, for their continuation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `experiment`."""
    parser.add_argument("name", metavar="NAME", help="; ".join(f"{e.name}: {e.about}" for e in EXPERIMENTS.values()))
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1 (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of results on this data: tables, and finished cells, which "
                                                 f"are never run again (default: {RESULTS}/NAME OF THE DATA FOLDER)")
    parser.add_argument("--small", action="store_true",
                        help="tiny settings, to check that it runs; the figures mean nothing")


def run(args: argparse.Namespace) -> None:
    """Runs the missing cells and writes the table.

    Raises:
        ConfigError: there is no such table, or the data or the folder of results cannot be used.
        DataError: the data cannot be read.
    """
    experiment = EXPERIMENTS.get(args.name)
    if experiment is None:
        raise ConfigError(f"{args.name!r} is not an experiment; choose from {', '.join(EXPERIMENTS)}")
    if args.seeds < 1:
        raise ConfigError(f"--seeds is {args.seeds}; at least 1 is needed")
    if not args.data.is_dir():
        raise ConfigError(f"{args.data} is not a folder; name one that `python -m model data` wrote")
    experiment.check(args.data)
    results = Results(args.out or RESULTS / args.data.resolve().name, args.data)
    cells = [Cell(kind, slug, settings, seed) for kind, slug, settings in
             experiment.configurations(args.data, args.small) for seed in range(args.seeds)]
    missing = [cell for cell in cells if results.find(cell) is None]
    with Bar(total=len(cells), initial=len(cells) - len(missing), unit="cell") as bar:
        for cell in missing:
            bar.set_description(f"{experiment.name}: {cell.slug}, seed {cell.seed}")
            _finish(experiment, cell, args.data, results)
            bar.update()
    done = [(cell, result) for cell in cells if (result := results.find(cell)) is not None]
    report = experiment.report(done)
    files = results.write(experiment.name, report)
    print(f"{report.markdown}\nwrote {', '.join(map(str, files))}")


def _finish(experiment: Experiment, cell: Cell, data: Path, results: Results) -> None:
    work = WORK / f"{results.data['fingerprint']}-{cell.name}"
    work.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    result = experiment.run(cell, data, work)
    results.keep(cell, result, time.perf_counter() - began)
    shutil.rmtree(work)
