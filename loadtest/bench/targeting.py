"""`python -m loadtest targeting`: latency and correctness of searches when few ads are eligible.

    python -m loadtest targeting --bundle bundles/synthetic --out targeting

The bundle must be of a synthetic world, whose ads accept four inventories with shares of about 50 %, 5 %, 0.5 % and
0.01 %; a request names one in its context. Times run from a request's fields to the top ads in this process, with the
bundle's default beam; the searches of each user run in random order. `warm` has the bitmap of its signature cached,
`cold` recomputes it every time. The answers are checked against an exhaustive search.

    python -m loadtest targeting --bundle BUNDLE --predicates snap-ads --source FOLDER --out targeting

Any bundle, whose ads carry the targetings of real ones: selectivity x correlation with the score (selectivity.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.targeting.eligibility import Eligible
from loadtest.bench import selectivity
from loadtest.bench.report import table
from loadtest.rivals.searches import TOP_K, ranked
from model.data.tables import DataError
from model.progress.bars import Bar
from model.sources.synthetic import ACCEPTED
from service.contract.query import EncodedUser, Query, SearchOptions
from service.retrieval.retriever import Retriever

FIELD = "inventory"
CHECKED = 5
"""Users whose answers are compared with all eligible ads."""

SAMPLE = 300
"""Ads whose predicates are evaluated one by one for each inventory, to check the bitmap."""

WARM_UP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle of a synthetic world")
    parser.add_argument("--predicates", choices=("inventories", "snap-ads"), default="inventories",
                        help="those of the bundle's ads, or those of snap-ads instead (default %(default)s)")
    parser.add_argument("--source", type=Path, help="folder of snap-ads")
    parser.add_argument("--queries", type=int, default=200, help="users to time, one at a time (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample of users (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for targeting.json and targeting.md (default: not written)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used, 2 a check failed."""
    try:
        if args.predicates == "snap-ads":
            if args.source is None:
                raise DataError("--predicates snap-ads needs --source, the folder that holds ads.csv.gz")
            report = selectivity.selectivity(args.bundle, args.source, queries=args.queries, seed=args.seed)
            text = selectivity.markdown(report)
        else:
            report = targeting(args.bundle, queries=args.queries, seed=args.seed)
            text = markdown(report)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "targeting.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        (args.out / "targeting.md").write_text(text + "\n")
    print(text)
    print(json.dumps(report, allow_nan=False))
    return 0 if all(row["sound"] for row in report["rows"]) else 2


def targeting(folder: Path, *, queries: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `ads`, `queries`; `rows`: one untargeted and one per inventory, each with `name`, `eligible`, `share`, `pairs`,
        `warm_p50_ms`, `cold_p50_ms`, `warm_ratio` and `cold_ratio` (over untargeted), `overlap@100` of the default
        beam with an exhaustive search, and the checks: `full` (every answer has min(K, eligible) ads),
        `unlimited_equal` (an unlimited beam finds the same ads as an exhaustive search), `bitmap_equal` (the bitmap
        agrees with a sample of predicates evaluated one by one), `sound` (all of these).

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no inventories, or no users.
    """
    opened = Bundle.open(folder)
    if not any(entry.name == FIELD for entry in opened.content.encoder.spec.context_fields):
        raise DataError(f"bundle {opened.bundle_id} has no context field {FIELD!r}; give one of a synthetic world, "
                        "`python -m model data synthetic`")
    # Without cache entries every signature is recomputed.
    measurement = _Measurement(opened, Retriever(opened), Retriever(opened, targeting_cache_entries=0))
    users = np.random.default_rng([seed, 0]).permutation(len(opened.content.users.ids))[:queries]
    if not len(users):
        raise DataError(f"bundle {opened.bundle_id} has no users; the measurement needs known ones: export a run "
                        "that has users")
    contexts: list[Mapping[str, Any]] = [{}, *({FIELD: name} for name in ACCEPTED)]
    rows = measurement.timed(contexts, users, seed)
    for row, context in zip(rows, contexts, strict=True):
        row |= measurement.checked(context, users[:CHECKED])
        row["warm_ratio"], row["cold_ratio"] = (row[f"{kind}_p50_ms"] / rows[0]["warm_p50_ms"]
                                                for kind in ("warm", "cold"))
        row["sound"] = row["full"] and row["unlimited_equal"] and row["bitmap_equal"]
    return {"ads": opened.content.tree.n_items, "queries": len(users), "rows": rows}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(row["name"], f"{row['eligible']:,}", f"{row['share']:.2%}", f"{row['pairs']:,.0f}",
             f"{row['warm_p50_ms']:.2f}", f"{row['warm_ratio']:.2f}", f"{row['cold_p50_ms']:.2f}",
             f"{row['cold_ratio']:.2f}", f"{row['overlap@100']:.3f}", "yes" if row["sound"] else "NO")
            for row in report["rows"]]
    return "\n".join([
        f"{report['ads']:,} ads, {report['queries']:,} queries on one thread, p50 in milliseconds; x: over untargeted.",
        "", table(("inventory", "eligible", "share", "pairs", "warm", "x", "cold", "x", "overlap@100", "sound"), rows)])


@dataclass(frozen=True)
class _Measurement:
    """One bundle with two retrievers, one that caches bitmaps of signatures and one that does not."""

    opened: Bundle
    warm: Retriever
    cold: Retriever

    def timed(self, contexts: Sequence[Mapping[str, Any]], users: NDArray[np.int64], seed: int) -> list[dict[str, Any]]:
        """A row for each context: how many ads were found, and how long it took."""
        random, kinds = np.random.default_rng([seed, 1]), (self.warm, self.cold)
        taken = np.zeros((len(users), len(contexts), len(kinds)))
        pairs, full = np.zeros(len(contexts)), np.ones(len(contexts), bool)
        eligible = np.zeros(len(contexts), np.int64)
        numbers = [*range(min(WARM_UP, len(users))), *range(len(users))]
        for n in Bar(numbers, desc="latency", unit="user"):
            for at in random.permutation(len(contexts) * len(kinds)):
                c, kind = divmod(int(at), len(kinds))
                start = time.perf_counter()
                found = self._search(kinds[kind], contexts[c], users[n])
                taken[n, c, kind] = time.perf_counter() - start  # overwrites the warm-up
                pairs[c] += found.pairs_scored / (len(numbers) * len(kinds))
                full[c] &= len(found.rows) == min(TOP_K, found.eligible)
                eligible[c] = found.eligible
        p50 = np.median(taken, axis=0) * 1e3
        ads = self.opened.content.tree.n_items
        return [{"name": context.get(FIELD, "untargeted"), "eligible": int(eligible[c]),
                 "share": int(eligible[c]) / ads, "pairs": float(pairs[c]), "warm_p50_ms": float(p50[c, 0]),
                 "cold_p50_ms": float(p50[c, 1]), "full": bool(full[c])} for c, context in enumerate(contexts)]

    def checked(self, context: Mapping[str, Any], users: NDArray[np.int64]) -> dict[str, Any]:
        """Checks of the default and of an unlimited beam against an exhaustive search over the eligible ads."""
        tree, scorer = self.opened.content.tree, self.warm.scorer
        weights = first_task_weights(len(self.opened.manifest.tasks))
        unlimited = tuple(tree.size(level) for level in range(1, tree.depth))
        overlaps, equal = [], True
        for row in Bar(users, desc=f"check {context.get(FIELD, 'untargeted')}", unit="user", leave=False):
            user = self._encoded(self.warm, context, row)
            eligible = self.warm.eligible(user, np.empty(0, np.int64)) or Eligible.of(tree.n_items)
            positions = eligible.positions()
            request = self.warm.query(user)
            scores = [scorer.score(request, tree.depth, part) @ weights
                      for part in np.array_split(positions, len(positions) // (1 << 14) + 1) if len(part)]
            truth = ranked(tree, positions, np.concatenate(scores)) if scores else positions
            wide = BeamSearch(tree, scorer).search(request, top_k=TOP_K, beam_width=unlimited, task_weights=weights,
                                                   eligible=eligible)
            found = self._search(self.warm, context, row)
            equal &= _same(truth, wide)
            overlaps.append(np.isin(truth, found.rows).mean() if len(truth) else 1.0)
        return {"overlap@100": float(np.mean(overlaps)), "unlimited_equal": equal,
                "bitmap_equal": self._agrees(context, users[0])}

    def _agrees(self, context: Mapping[str, Any], row: int) -> bool:
        """Whether the bitmap agrees with the predicates of a sample of ads, evaluated one by one."""
        tree, user = self.opened.content.tree, self._encoded(self.warm, context, row)
        rows = np.random.default_rng(0).permutation(tree.n_items)[:SAMPLE]
        eligible = self.warm.eligible(user, np.empty(0, np.int64)) or Eligible.of(tree.n_items)
        allowed = [self.warm.targeting.refusal(int(ad), user.targeting) is None for ad in rows]
        return bool(np.array_equal(eligible.contains(tree.position_of_row[rows]), allowed))

    def _encoded(self, retriever: Retriever, context: Mapping[str, Any], row: int) -> EncodedUser:
        manifest = self.opened.manifest
        return retriever.encode(Query(user_id=self.opened.content.users.ids[row], top_k=TOP_K,
                                      task_weights=first_task_weights(len(manifest.tasks)), context=context))

    def _search(self, retriever: Retriever, context: Mapping[str, Any], row: int) -> SearchResult:
        manifest = self.opened.manifest
        options = SearchOptions(top_k=TOP_K, beam_width=manifest.search.beam_width, exact=False,
                                task_weights=first_task_weights(len(manifest.tasks)), excluded=np.empty(0, np.int64))
        return retriever.search(self._encoded(retriever, context, row), options)


def _same(truth: NDArray[np.int64], found: SearchResult, tolerance: float = 1e-5) -> bool:
    """Whether a search found these rows, up to ads of nearly equal score at the cut-off."""
    if len(truth) != len(found.rows):
        return False
    strange = ~np.isin(found.rows, truth)
    return bool((found.scores[strange] - found.scores.min(initial=np.inf) <= tolerance).all())
