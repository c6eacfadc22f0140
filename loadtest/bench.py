"""`python -m loadtest bench`: what a beam saves and what it costs in quality, in one run of one process per core.

Quality covers every test user, latency a seeded sample of them, one at a time on one thread, from encoded features to
top-K. Both sides of every comparison are measured in this run, with the same scorer and the same users.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.bundle import BundleError
from index_store.features import FeatureError
from index_store.ragged import Ragged
from index_store.scoring import UserQuery
from index_store.search import BeamSearch, ExhaustiveSearch
from index_store.store import Bundle
from model.data.load import Dataset, Events, load_dataset
from model.data.tables import DataError
from service.retriever import EncodedUser, Retriever, SearchOptions

TOP_K = 100
SHARES = (0.25, 0.5, 1.5)
"""Beam widths of the sweep beside the bundle's default, as multiples of it."""


@dataclass(frozen=True)
class Questions:
    """What is asked of the bundle.

    Attributes:
        users: (Q,) user rows with test ads.
        targets: Q lists of test ads, as item rows.
        seen: Q lists of train ads, which are excluded.
    """

    users: NDArray[np.int64]
    targets: Ragged
    seen: Ragged


@dataclass(frozen=True)
class RecordedScores:
    """A NodeScorer that looks up what was scored before, so that one pass of the model serves every beam width.

    Attributes:
        logits: one (nodes, tasks) float32 a level.
    """

    logits: Sequence[NDArray[np.float32]]

    def score(self, query: None, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Task logits of nodes (C,): (C, tasks)."""
        return self.logits[level - 1][nodes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle to measure")
    parser.add_argument("--data", type=Path, required=True, help="data folder that the bundle was trained on")
    parser.add_argument("--queries", type=int, default=500, help="users to time, one at a time (default %(default)s)")
    parser.add_argument("--users", type=int, default=0, help="test users to ask for quality, 0 = all (default)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object on the last line. Exit status: 0 fine, 1 bundle or data cannot be used."""
    try:
        report = bench(args.bundle, args.data, queries=args.queries, users=args.users, seed=args.seed)
    except (BundleError, DataError, FeatureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(report))
    print(json.dumps(report))
    return 0


def bench(folder: Path, data: Path, *, queries: int, users: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Args:
        folder: the bundle.
        data: its data folder, with test events.
        queries: users to time.
        users: users to ask for quality, 0 = all that have test ads.
        seed: of both samples.

    Raises:
        BundleError, DataError: they cannot be read, or do not belong together.
    """
    opened = Bundle.open(folder)
    dataset = load_dataset(data)
    questions = _questions(dataset, opened, users, seed)
    default = opened.manifest.search.beam_width
    sizes = [level.nodes for level in opened.manifest.levels[:-1]]
    scaled = {tuple(min(size, max(1, round(share * w))) for size, w in zip(sizes, default, strict=True))
              for share in SHARES}
    widths = sorted({default, *scaled})
    quality = _quality(folder, questions, widths)
    latency = _latency(opened, questions, widths, queries, seed)
    rows = [{"beam_width": list(width), "default": width == default, **beam, "p50_ms": p50,
             "kernel_ms": _kernel_ms(opened, round(beam["pairs"]))}
            for width, beam, p50 in zip(widths, quality["beam"], latency["beam"], strict=True)]
    return {"ads": opened.content.tree.n_items, "quality_users": len(questions.users),
            "timed_queries": min(queries, len(questions.users)),
            "exhaustive": {**quality["exhaustive"], "p50_ms": latency["exhaustive"]}, "beam": rows}


def _questions(dataset: Dataset, opened: Bundle, users: int, seed: int) -> Questions:
    encoder = opened.content.encoder
    if not np.array_equal(dataset.encoder.item_ids, encoder.item_ids) or not np.array_equal(
            dataset.user_ids, opened.content.users.ids):
        raise DataError(f"the data folder has {len(dataset.encoder.item_ids)} ads and {len(dataset.user_ids)} users, "
                        f"the bundle {len(encoder.item_ids)} and {len(opened.content.users.ids)}, or others; give the "
                        "folder that the bundle was trained on")
    if dataset.test is None:
        raise DataError("the data folder has no test_events.parquet; the bench needs events that were not trained on")
    targets, seen = (_by_user(events, len(dataset.user_ids)) for events in (dataset.test, dataset.train))
    asked = np.random.default_rng([seed, 0]).permutation(np.flatnonzero(np.diff(targets.indptr)))
    asked = asked[:users] if users else asked
    return Questions(asked, targets.take(asked), seen.take(asked))


def _by_user(events: Events, users: int) -> Ragged:
    """Items with the first task's label, by user."""
    chosen = events.labels[:, 0] == 1
    indptr = np.searchsorted(events.users[chosen], np.arange(users + 1)).astype(np.int64)
    return Ragged(indptr, events.items[chosen])


def _encoded(opened: Bundle, row: int) -> EncodedUser:
    users = opened.content.users
    return EncodedUser(users.features.take(np.array([row])), users.history.row(row))


_worker: dict[str, Any] = {}


def _start_worker(folder: Path, widths: list[tuple[int, ...]]) -> None:
    opened = Bundle.open(folder, verify=False)
    _worker.update(opened=opened, retriever=Retriever(opened), widths=widths)


def _ask(questions: Questions) -> NDArray[np.float64]:
    """Sums over users: recall@20, recall@100, overlap, pairs; row 0 is the exhaustive search, then one row a width."""
    opened, retriever, widths = _worker["opened"], _worker["retriever"], _worker["widths"]
    tree = opened.content.tree
    weights = np.zeros(len(opened.manifest.tasks), np.float32)
    weights[0] = 1.0
    sums = np.zeros((1 + len(widths), 4))
    for q, row in enumerate(questions.users):
        query: UserQuery = retriever.query(_encoded(opened, row))
        recorded = RecordedScores([retriever.scorer.score(query, level, np.arange(tree.size(level)))
                                   for level in range(1, tree.depth + 1)])
        targets, seen = questions.targets.row(q), questions.seen.row(q)
        truth = ExhaustiveSearch(tree, recorded).search(None, top_k=TOP_K, task_weights=weights, excluded=seen).rows
        sums[0] += [np.isin(targets, truth[:20]).mean(), np.isin(targets, truth).mean(), 0, 0]
        for w, width in enumerate(widths, start=1):
            found = BeamSearch(tree, recorded).search(None, top_k=TOP_K, beam_width=width, task_weights=weights,
                                                      excluded=seen)
            sums[w] += [np.isin(targets, found.rows[:20]).mean(), np.isin(targets, found.rows).mean(),
                        np.isin(truth, found.rows).mean(), found.pairs_scored]
    return sums


def _quality(folder: Path, questions: Questions, widths: list[tuple[int, ...]]) -> dict[str, Any]:
    parts = np.array_split(np.arange(len(questions.users)), max(1, len(questions.users) // 50))
    asked = [Questions(questions.users[p], questions.targets.take(p), questions.seen.take(p)) for p in parts]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), spawn, _start_worker, (folder, widths)) as pool:
        sums = sum(tqdm(pool.map(_ask, asked), total=len(asked), desc="quality", unit="part"))
    means = np.asarray(sums) / len(questions.users)
    beam = [{"overlap@100": float(o), "recall@20": float(a), "recall@100": float(b), "pairs": float(pairs)}
            for a, b, o, pairs in means[1:]]
    return {"exhaustive": {"recall@20": float(means[0, 0]), "recall@100": float(means[0, 1])}, "beam": beam}


def _latency(opened: Bundle, questions: Questions, widths: list[tuple[int, ...]], queries: int,
             seed: int) -> dict[str, Any]:
    """Median milliseconds of the exhaustive search and of every width; the searches of one user follow each other."""
    retriever = Retriever(opened)
    weights = np.zeros(len(opened.manifest.tasks), np.float32)
    weights[0] = 1.0
    timed = np.random.default_rng([seed, 1]).permutation(len(questions.users))[:queries]
    taken: list[list[float]] = [[] for _ in range(1 + len(widths))]
    warm_up = 5
    for n, q in enumerate(tqdm([*timed[:warm_up], *timed], desc="latency", unit="user")):
        user, seen = _encoded(opened, questions.users[q]), questions.seen.row(q).astype(np.int64)
        for w, width in enumerate([widths[0], *widths]):
            options = SearchOptions(TOP_K, width, w == 0, weights, seen)
            start = time.perf_counter()
            retriever.search(user, options)
            if n >= warm_up:
                taken[w].append((time.perf_counter() - start) * 1e3)
    medians = [statistics.median(times) for times in taken]
    return {"exhaustive": medians[0], "beam": medians[1:]}


def _kernel_ms(opened: Bundle, pairs: int, repeats: int = 50) -> float:
    """Median milliseconds of one scorer call on this many pairs that are gathered already."""
    dims, rng = opened.manifest.dims, np.random.default_rng(0)
    layers = Retriever(opened).scorer.dense_layers
    user = rng.standard_normal((1, dims["user_embedding"]), np.float32)
    items = rng.standard_normal((pairs, dims["item_embedding"]), np.float32)
    interaction = rng.random((pairs, dims["interaction"]), np.float32)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        layers(user, items, interaction)
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    full = report["exhaustive"]
    lines = [f"{report['ads']} ads, quality over {report['quality_users']} users, latency over "
             f"{report['timed_queries']} queries on one thread", "",
             "search              overlap@100  recall@20  recall@100     pairs   share   p50 ms  kernel ms",
             f"{'exhaustive':18s} {1.0:12.4f} {full['recall@20']:10.4f} {full['recall@100']:11.4f} "
             f"{report['ads']:9.0f} {1.0:7.1%} {full['p50_ms']:8.2f}          -"]
    for row in report["beam"]:
        name = "beam " + " ".join(map(str, row["beam_width"])) + (" *" if row["default"] else "")
        lines.append(f"{name:18s} {row['overlap@100']:12.4f} {row['recall@20']:10.4f} {row['recall@100']:11.4f} "
                     f"{row['pairs']:9.0f} {row['pairs'] / report['ads']:7.1%} {row['p50_ms']:8.2f} "
                     f"{row['kernel_ms']:10.2f}")
    return "\n".join([*lines, "", "* the bundle's default"])
