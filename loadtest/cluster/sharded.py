"""`python -m loadtest sharded`: a root and its shards, as processes of this machine, beside the whole bundle.

    python -m index_store shard bundles/mine --shards 4 --out roots/mine
    python -m loadtest sharded --bundle bundles/mine --root roots/mine --out sharded

Searches the same users' best ads at the default beam, by the bundle in this process and by the root over TCP, in random
order. Whatever differs between the two is reported. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle, describe
from index_store.bundle.files import BundleFiles
from index_store.bundle.graphs import SCORE_TOLERANCE
from index_store.bundle.manifest import BundleError
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import NodeScorer, SearchResult, first_task_weights
from index_store.search.scoring import UserQuery
from index_store.search.sharded_scorer import Logits, ShardedScorer, ShardItems, Shards
from loadtest.bench.report import table
from loadtest.processes.children import Children
from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.shard_processes import ShardProcess, running_shards
from loadtest.rivals.queries import encoded
from model.progress.bars import Bar
from service.retrieval.retriever import Retriever
from service.shards.shard_access import ShardAccess

WARM_UP = 10
"""Users whose searches are not timed."""

_PATIENCE_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="the whole bundle")
    parser.add_argument("--root", type=Path, required=True, help="root that `index_store shard` made of it")
    parser.add_argument("--queries", type=_positive, default=200, help="users to time (default %(default)s)")
    parser.add_argument("--users", type=int, default=50,
                        help="of these, users whose answers are compared with an exhaustive search "
                             "(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the users (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for sharded.json and sharded.md (default: not written)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} users leave nothing to time; give at least 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 it cannot be measured, 2 answers differ."""
    try:
        report = sharded(args.bundle, args.root, queries=args.queries, users=args.users, seed=args.seed)
    except (BundleError, ProcessEndedError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "sharded.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        (args.out / "sharded.md").write_text(markdown(report) + "\n")
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0 if report["same_answers"] == report["queries"] else 2


def sharded(bundle: Path, root: Path, *, queries: int, users: int, seed: int = 0) -> dict[str, Any]:
    """Measures a root beside its bundle.

    Args:
        bundle: the bundle.
        root: made of it.
        queries: users whose searches are timed.
        users: of these, how many are searched exhaustively too.
        seed: of the users.

    Returns:
        `ads`, `queries`, `users`, `shards`; `whole` and `root`: `overlap@100`, `pairs`, `p50_ms`, `p99_ms`;
        `added_p50_ms`: median over users of what the root's search took longer; `same_answers`: answers with the same
        ads and scores; `shards_asked`: mean of a search; `root_bytes`, `shard_bytes`: of the files, one for each shard;
        `shard_ads`; `shard_private_bytes`: memory that each shard's process has for itself.

    Raises:
        BundleError: the root was made of another bundle, or one of the two is broken.
        ProcessEndedError, TimeoutError: a shard does not start.
    """
    whole, own = Bundle.open(bundle, verify=False), Bundle.open(root, verify=False)
    shards = own.content.shards
    if shards is None or shards.bundle_id != whole.bundle_id:
        raise BundleError(root, layout.SHARDS, "is missing" if shards is None else
                          f"says it was made of bundle {shards.bundle_id}, and {bundle} is {whole.bundle_id}",
                          "give the root that `python -m index_store shard` made of this bundle")
    rows = np.random.default_rng([seed, 3]).permutation(len(whole.content.users.ids))[:queries]
    files = [BundleFiles(root / layout.shard_folder(number), verify=False) for number in range(len(shards))]
    with (tempfile.TemporaryDirectory() as folder, Children() as children,
          running_shards(root, len(shards), Path(folder), os.environ, children.start) as (book, running),
          closing(Retriever(whole)) as by_bundle,
          closing(Retriever(own, shards=ShardAccess(book, _PATIENCE_SECONDS, _PATIENCE_SECONDS, connections=1))
                  ) as by_root):
        report = _measured(by_bundle, by_root, rows, users, seed)
        report["shard_private_bytes"] = [_private(shard) for shard in running]
    return {"ads": whole.content.tree.n_items, "queries": len(rows), "users": min(users, len(rows)),
            "shards": len(shards), **report, "shard_ads": np.diff(shards.bounds).tolist(),
            "root_bytes": int(describe(own.manifest)["total_bytes"]),
            "shard_bytes": [int(describe(one.manifest)["total_bytes"]) for one in files]}


@dataclass
class _Counted:
    """Shards that are counted as they are asked."""

    shards: Shards
    asked: list[int] = field(default_factory=list)

    def ask(self, query: UserQuery, wanted: Sequence[ShardItems]) -> Callable[[], Sequence[Logits | None]]:
        self.asked.append(len(wanted))
        return self.shards.ask(query, wanted)


def _measured(whole: Retriever, root: Retriever, rows: NDArray[np.int64], users: int, seed: int) -> dict[str, Any]:
    random, retrievers = np.random.default_rng([seed, 4]), (whole, root)
    for row in rows[:WARM_UP]:
        for retriever in retrievers:
            _search(retriever, retriever.scorer, row)
    seconds, pairs, same = np.zeros((len(rows), 2)), np.zeros((len(rows), 2)), 0
    for q in Bar(range(len(rows)), desc="searches", unit="user"):
        found: dict[int, SearchResult] = {}
        for place in random.permutation(2).tolist():
            found[place], seconds[q, place] = _search(retrievers[place], retrievers[place].scorer, rows[q])
            pairs[q, place] = found[place].pairs_scored
        same += _equal(found[0], found[1])
    overlaps, asked = _overlaps(whole, root, rows[:users])
    p50, p99 = np.percentile(seconds * 1e3, (50, 99), axis=0, method="inverted_cdf")
    sides = {name: {"overlap@100": overlaps[place], "pairs": float(pairs[:, place].mean()),
                    "p50_ms": float(p50[place]), "p99_ms": float(p99[place])}
             for place, name in enumerate(("whole", "root"))}
    return {**sides, "added_p50_ms": float(np.median(seconds[:, 1] - seconds[:, 0])) * 1e3, "same_answers": same,
            "shards_asked": asked}


def _search(retriever: Retriever, scorer: NodeScorer[UserQuery], row: int) -> tuple[SearchResult, float]:
    """The default search for a user of the bundle, and its seconds."""
    opened, query = retriever.bundle, retriever.query(encoded(retriever.bundle, row))
    defaults, weights = opened.manifest.search, first_task_weights(len(opened.manifest.tasks))
    began = time.perf_counter()
    found = BeamSearch(opened.content.tree, scorer).search(query, top_k=defaults.top_k,
                                                           beam_width=defaults.beam_width, task_weights=weights)
    return found, time.perf_counter() - began


def _equal(one: SearchResult, other: SearchResult) -> bool:
    return np.array_equal(one.rows, other.rows) and np.allclose(one.scores, other.scores, rtol=SCORE_TOLERANCE,
                                                                atol=SCORE_TOLERANCE)


def _overlaps(whole: Retriever, root: Retriever, rows: NDArray[np.int64]) -> tuple[list[float | None], float | None]:
    """Mean overlap of either with the exhaustive answers, and shards asked by a search of the root."""
    if not len(rows):
        return [None, None], None
    assert isinstance(root.scorer, ShardedScorer), "the root's"
    counted, tree = _Counted(root.scorer.shards), whole.bundle.content.tree
    scorers = (whole.scorer, replace(root.scorer, shards=counted))
    sums = np.zeros(2)
    for row in Bar(rows, desc="exhaustive", unit="user"):
        truth = ExhaustiveSearch(tree, whole.scorer).search(
            whole.query(encoded(whole.bundle, row)), top_k=whole.bundle.manifest.search.top_k,
            task_weights=first_task_weights(len(whole.bundle.manifest.tasks)))
        sums += [_search(retriever, scorer, row)[0].overlap(truth)
                 for retriever, scorer in zip((whole, root), scorers, strict=True)]
    return [float(sum_) / len(rows) for sum_ in sums], float(np.mean(counted.asked))


def _private(shard: ShardProcess) -> int:
    return int(psutil.Process(shard.process.pid).memory_full_info().uss)


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table and two sentences."""
    def cell(value: float | None, shape: str) -> str:
        return "-" if value is None else shape.format(value)

    shapes = {"overlap@100": "{:.4f}", "pairs": "{:,.0f}", "p50_ms": "{:.2f}", "p99_ms": "{:.2f}"}
    rows = [(name, *(cell(report[name][column], shape) for column, shape in shapes.items()))
            for name in ("whole", "root")]
    mib = [f"{size / 2**20:,.0f}" for size in (report["root_bytes"], max(report["shard_bytes"]),
                                               max(report["shard_private_bytes"]))]
    asked = cell(report["shards_asked"], "{:.1f}")
    return "\n".join([
        f"{report['ads']:,} ads, {report['shards']} shards; overlap of {report['users']} users, searches of "
        f"{report['queries']}, one at a time.", "", table(("", *shapes), rows), "",
        f"{report['same_answers']} of {report['queries']} answers have the same ads and scores. A search asks {asked} "
        f"of {report['shards']} shards; the root adds {report['added_p50_ms']:.2f} ms (median of the differences).",
        f"The root has {mib[0]} MiB of files, the largest shard {mib[1]} MiB, and a shard's process {mib[2]} MiB of "
        "private memory."])
