"""`python -m loadtest bench`: what each search finds, scores and takes, in one run with one scorer.

The exhaustive search, beams, HNSW and IVF over two towers, and a walk of an HNSW graph that the scorer guides. Latency
is that of real searches on one thread, from encoded features to the top 100, one user after the other; the searches of
one user follow each other in random order. Quality counts over more users and takes scores from one pass of the model a
user. Train ads are excluded everywhere. docs/benchmarks.md says how each figure is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.features.values import FeatureError
from loadtest.bench.comparison import Arena
from loadtest.bench.pareto import in_words, summary
from loadtest.bench.queries import Questions, ask
from loadtest.bench.report import KINDS, markdown, write
from loadtest.bench.searches import Contender
from loadtest.bench.sweep import Sweep
from loadtest.bench.two_tower import TwoTower
from model.data.load import load_dataset
from model.data.tables import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle to measure")
    parser.add_argument("--data", type=Path, required=True, help="data folder that the bundle was trained on")
    parser.add_argument("--two-tower", type=Path, metavar="BUNDLE",
                        help="bundle of the same data trained with --over-arch dot, for HNSW and IVF (default: none)")
    parser.add_argument("--out", type=Path, help="folder for bench.json, bench.md and the plot (default: not written)")
    parser.add_argument("--queries", type=int, default=200, help="users to time, one at a time (default %(default)s)")
    parser.add_argument("--users", type=int, default=500,
                        help="test users to ask for quality, 0 = all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object on the last line. Exit status: 0 fine, 1 bundle or data cannot be used."""
    try:
        report = bench(args.bundle, args.data, two_tower=args.two_tower, queries=args.queries, users=args.users,
                       seed=args.seed)
    except (BundleError, DataError, FeatureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        write(report, args.out)
    print(markdown(report))
    print(json.dumps(report))
    return 0


def bench(folder: Path, data: Path, *, two_tower: Path | None, queries: int, users: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Args:
        folder: the bundle.
        data: its data folder, with test events.
        two_tower: a bundle of the same data whose score is an inner product; without it HNSW and IVF are left out.
        queries: users to time.
        users: users to ask for quality, 0 = all that have test ads.
        seed: of both samples.

    Returns:
        `ads`, `quality_users`, `fresh_users` (whether none of them chose the bundle's beam), `timed_queries`, `seed`;
        `exhaustive`: a row; `beam`, `hnsw`, `ivf`, `graph`: lists of
        rows, each of `name`, `params`, `overlap@100`, `recall@20`, `recall@100`, `pairs`, `p50_ms`, `p95_ms`,
        `search_ms` and `kernel_ms`; `summary` and `in_words`: what follows from them.

    Raises:
        BundleError, DataError: they cannot be read, or do not belong together.
    """
    opened = Bundle.open(folder)
    towers = TwoTower.of(Bundle.open(two_tower), opened) if two_tower is not None else None
    spared = np.array(opened.files.json(layout.EVALUATION).get("beam_curve_users", []), np.int64)
    questions = ask(load_dataset(data), opened, users, seed, spared)
    return compare(opened, towers, questions, queries=queries, seed=seed, sweep=Sweep())


def compare(opened: Bundle, towers: TwoTower | None, questions: Questions, *, queries: int, seed: int,
            sweep: Sweep) -> dict[str, Any]:
    """Asks every search of a sweep the same questions; arguments and result as those of `bench`."""
    contenders = sweep.contenders(opened, towers)
    arena = Arena(opened, towers, questions)
    quality = arena.quality(contenders)
    latency = arena.latency(contenders, queries, seed)
    rows = [{"name": _name(contender), "params": dict(contender.params), **found, **times}
            for contender, found, times in zip(contenders, quality, latency, strict=True)]
    report = {"ads": opened.content.tree.n_items, "quality_users": len(questions), "fresh_users": questions.fresh,
              "timed_queries": min(queries, len(questions)), "seed": seed, "exhaustive": rows[0],
              **{kind: [row for row, contender in zip(rows, contenders, strict=True) if contender.kind == kind]
                 for kind in KINDS}}
    report["summary"] = summary(report)
    report["in_words"] = in_words(report)
    return report


def _name(contender: Contender) -> str:
    params = dict(contender.params)
    if contender.kind == "beam":
        return "beam " + " ".join(map(str, params["beam_width"])) + (" *" if params["default"] else "")
    return " ".join([contender.kind, ", ".join(f"{name} {value}" for name, value in params.items())]).strip()
