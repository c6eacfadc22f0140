"""`python -m loadtest bench`: quality, pairs scored and latency of beam search, exhaustive search and the baselines.

    python -m loadtest bench --bundle bundles/mine --data data/mine
    python -m loadtest bench --bundle bundles/mine --data data/mine --two-tower bundles/mine_dot --out bench

Compares exhaustive search, beams, HNSW and IVF over two towers, a walk of an HNSW graph guided by the scorer, and
vectors distilled from the scorer, in FAISS, usearch, voyager and ScaNN, in one run with one scorer. Latency is that of
real searches on one thread, from encoded features to the top 100, one user at a time; the searches of each user run in
random order. Quality is measured on more users, with scores from one pass of the model per user. Train ads are excluded
everywhere. docs/benchmarks.md says how each figure is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.declaration.values import FeatureError
from loadtest.bench.comparison import Comparison
from loadtest.bench.pareto import in_words, summary
from loadtest.bench.report import KINDS, markdown, write
from loadtest.rivals.distilled import Student
from loadtest.rivals.queries import QuerySet, draw_queries
from loadtest.rivals.searches import Search
from loadtest.rivals.sweep import Sweep
from loadtest.rivals.two_tower import TwoTower
from model.data.load import load_dataset
from model.data.tables import DataError
from model.progress.lines import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle to measure")
    parser.add_argument("--data", type=Path, required=True, help="data folder that the bundle was trained on")
    parser.add_argument("--two-tower", type=Path, metavar="BUNDLE",
                        help="bundle of the same data and --over-arch dot, for HNSW and IVF (default: left out)")
    parser.add_argument("--no-rivals", action="store_true",
                        help="leave out the walked graph and the vectors distilled from the scorer, which take "
                             "hours for ten million ads")
    parser.add_argument("--out", type=Path, help="folder for bench.json, bench.md and the plot (default: not written)")
    parser.add_argument("--queries", type=int, default=200, help="users to time, one at a time (default %(default)s)")
    parser.add_argument("--users", type=int, default=500,
                        help="test users for the quality figures, 0 = all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of both samples of users (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 the bundle or the data cannot be used."""
    try:
        report = bench(args.bundle, args.data, two_tower=args.two_tower, queries=args.queries, users=args.users,
                       seed=args.seed, rivals=not args.no_rivals)
    except (BundleError, DataError, FeatureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        write(report, args.out)
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def bench(folder: Path, data: Path, *, two_tower: Path | None, queries: int, users: int, seed: int,
          rivals: bool = True) -> dict[str, Any]:
    """Measures one bundle.

    Args:
        folder: the bundle.
        data: its data folder, with test events.
        two_tower: a bundle of the same data whose score is an inner product; without it HNSW and IVF are left out.
        queries: users to time.
        users: users for the quality figures, 0 = all that have test ads.
        seed: of both samples.
        rivals: whether a graph is walked, and vectors are distilled from the scorer, too.

    Returns:
        `ads`, `quality_users`, `fresh_users` (whether the bundle's beam was tuned on none of them), `timed_queries`,
        `seed`; `exhaustive`: a row; for each of `report.KINDS` a list of rows, each with `name`, `params`,
        `overlap@100`, `recall@20`, `recall@100`, `pairs`, `p50_ms`, `p95_ms`, `search_ms` and `kernel_ms`; `summary`
        and `in_words`: see `pareto`.

    Raises:
        BundleError, DataError: bundles or data cannot be read, or do not belong together.
    """
    opened = Bundle.open(folder)
    towers = TwoTower.of(Bundle.open(two_tower), opened) if two_tower is not None else None
    tuned_on = np.array(opened.files.json(layout.EVALUATION).get("beam_curve_users", []), np.int64)
    query_set = draw_queries(load_dataset(data), opened, users, seed, tuned_on)
    if not rivals:
        return compare(opened, towers, None, query_set, queries=queries, seed=seed, sweep=Sweep(walk_ms=()))
    return compare(opened, towers, _student(opened, query_set, seed), query_set, queries=queries, seed=seed,
                   sweep=Sweep())


def _student(opened: Bundle, query_set: QuerySet, seed: int) -> Student | None:
    """Vectors distilled from the bundle's scorer; without them it says why."""
    if find_spec("torch") is None:
        tell("torch, which the train extra needs, is not installed, so no vectors are distilled to compare with")
        return None
    from loadtest.rivals.distillation import distil

    student = distil(opened, query_set.users, seed)
    if student is None:
        tell(f"{len(opened.content.users.ids)} users are too few to distil vectors beside the {len(query_set)} that "
             "are asked; give fewer --users to compare with those")
    return student


def compare(opened: Bundle, towers: TwoTower | None, student: Student | None, query_set: QuerySet, *, queries: int,
            seed: int, sweep: Sweep) -> dict[str, Any]:
    """Runs every search of a sweep on the same queries; arguments and result as for `bench`."""
    searches = sweep.searches(opened, towers, student)
    comparison = Comparison(opened, towers, query_set)
    quality = comparison.quality(searches)
    latency = comparison.latency(searches, queries, seed)
    rows = [{"name": _name(search), "params": dict(search.params), **found, **times}
            for search, found, times in zip(searches, quality, latency, strict=True)]
    report = {"ads": opened.content.tree.n_items, "quality_users": len(query_set), "fresh_users": query_set.fresh,
              "timed_queries": min(queries, len(query_set)), "seed": seed, "exhaustive": rows[0],
              **{kind: [row for row, search in zip(rows, searches, strict=True) if search.kind == kind]
                 for kind in KINDS}}
    report["summary"] = summary(report)
    report["in_words"] = in_words(report)
    return report


def _name(search: Search) -> str:
    params = dict(search.params)
    if search.kind == "beam":
        return "beam " + " ".join(map(str, params["beam_width"])) + (" *" if params["default"] else "")
    return " ".join([search.kind, ", ".join(f"{name} {value}" for name, value in params.items())]).strip()
