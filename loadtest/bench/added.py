"""`python -m loadtest added`: searches while ads are added: what the beam finds of them, and what it costs.

    python -m loadtest added --bundle bundles/synthetic
    python -m loadtest added --bundle bundles/first --world data/moving

Some of the bundle's ads are deleted and added again under other ids, with the features that they had: they are as good
as before, but new, without clicks. With `--world` ads end and are born as on the days of a world that moves, one after
the other: what the bundle of a run on that world finds if no model follows. `found` is the share of those that belong
into an answer (by exhaustive search over the same ads) that the beam returns, `overlap` the same of all ads. Searches
run in this process, with the bundle's default beam, those of each user in random order.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle, BundleContent
from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import Change, Kind
from index_store.features.encoder import UNKNOWN
from index_store.live.ad_changes import STATUS
from index_store.live.snapshot import Snapshot
from index_store.live.users import FEATURES
from index_store.live.withdrawals import Status
from index_store.search.ranking import SearchResult, first_task_weights
from loadtest.bench.report import table
from loadtest.rivals.searches import TOP_K
from model.data.tables import AD_EXTRAS, TARGETING, DataError, read_spec
from model.data.windows import Window, day_folder
from model.progress.bars import Bar
from service.contract.query import Query, SearchOptions
from service.retrieval.retriever import Retriever

SHARES = (0.0, 0.001, 0.01, 0.1)
"""Of the ads that are added."""

_BATCH = 1_000
"""Changes that a worker applies at once."""

_AdChange = tuple[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle with users")
    parser.add_argument("--world", type=Path, metavar="DIR", help="add and delete the ads of its days (`model data "
                                                                  "synthetic --days`) instead of the bundle's own")
    parser.add_argument("--queries", type=int, default=200, help="users to ask as (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and ads (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used."""
    try:
        report = added(args.bundle, world=args.world, queries=args.queries, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def added(folder: Path, *, world: Path | None, queries: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `ads`, `queries`, `prepare_s`; `rows`: one for each of SHARES, or for each day of the world from 0, with
        `added`, `belong` and `found` (of the added ads; null where none belongs into an answer), `overlap`, `pairs`,
        `p50_ms`, `p99_ms`, and `apply_ms` for each added ad.

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no users, or the world is not that of the bundle.
    """
    opened = Bundle.open(folder)
    content, random = opened.content, np.random.default_rng(seed)
    users = random.permutation(content.users.ids)[:queries]
    if not len(users):
        raise DataError(f"bundle {opened.bundle_id} has no users; the measurement needs known ones: export a run "
                        "that has users")
    retriever = Retriever(opened)
    start = time.perf_counter()
    retriever.sealed.arrivals.prepare()
    prepare = time.perf_counter() - start
    rows = random.permutation(content.tree.n_items)
    if world is None:
        numbers = sorted({int(share * len(rows)) for share in SHARES})
        measured = [_Measured(retriever, _again(content, rows[:number])) for number in numbers]
    else:
        measured = [_Measured(retriever, changes) for changes in _until_each_day(world)]
    for user in Bar(users, desc="searches", unit="user"):
        for at in random.permutation(len(measured)).tolist():
            measured[at].search(user)
    return {"ads": content.tree.n_items, "queries": len(users), "prepare_s": prepare,
            "rows": [one.row() for one in measured]}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(f"{row['added']:,}", f"{row['belong']:,}", "-" if row["found"] is None else f"{row['found']:.3f}",
             f"{row['overlap']:.4f}", f"{row['pairs']:,.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}",
             "-" if row["apply_ms"] is None else f"{row['apply_ms']:.2f}") for row in report["rows"]]
    head = ("added", "belong", "found", "overlap", "pairs", "p50", "p99", "apply")
    return "\n".join([f"{report['ads']:,} ads, {report['queries']:,} queries on one thread, times in milliseconds; "
                      f"{report['prepare_s']:.1f} s to prepare.", "", table(head, rows)])


def _again(content: BundleContent, rows: np.ndarray[Any, np.dtype[np.int64]]) -> list[_AdChange]:
    """Deletes ads of a bundle, by item rows (J,), and adds them under other ids."""
    changes: list[_AdChange] = []
    for row in rows.tolist():
        ad_id = content.encoder.item_ids[row].decode()
        changes += [(ad_id, {STATUS: Status.DELETED.value}),
                    (f"{ad_id}/new", {FEATURES: raw_features(content, row)})]
    return changes


def _until_each_day(world: Path) -> list[list[_AdChange]]:
    """All changes until each day of a world that moves, from the day before the first."""
    changes: list[_AdChange] = []
    until, spec = [list(changes)], read_spec(world)
    while (folder := day_folder(world, len(until))).is_dir():
        window = Window.read(folder, spec)
        changes += [(ad_id, {STATUS: Status.DELETED.value}) for ad_id in window.ended["ad_id"].to_pylist()]
        for ad in window.ads.to_pylist():
            ad_id, targeting, *_ = (ad.pop(name) for name in ("ad_id", *AD_EXTRAS))  # these searches read no bids
            changes.append((ad_id, {FEATURES: ad, TARGETING: targeting and json.loads(targeting)}))
        until.append(list(changes))
    return until


class _Measured:
    """Searches after some changes of ads.

    Args:
        retriever: of the bundle.
        changes: id and what is said of each.

    Raises:
        DataError: the bundle cannot hold an ad.
    """

    def __init__(self, retriever: Retriever, changes: Sequence[_AdChange]) -> None:
        self._retriever = retriever
        numbered = [Change(sequence=at, at=0.0, kind=Kind.AD, id=ad_id, fields=fields)
                    for at, (ad_id, fields) in enumerate(changes, start=1)]
        self._snapshot: Snapshot = retriever.sealed
        start = time.perf_counter()
        for first in range(0, len(numbered), _BATCH):
            self._snapshot = self._snapshot.with_changes(numbered[first:first + _BATCH])
        self._apply, self._arrived = time.perf_counter() - start, sum(FEATURES in fields for _, fields in changes)
        for ad_id, reason in self._snapshot.unfit.items():
            raise DataError(f"ad {ad_id} does not fit bundle {retriever.bundle.bundle_id}: {reason}; name the world "
                            "that it was trained on")
        self._seconds: list[float] = []
        self._pairs: list[int] = []
        self._overlaps: list[float] = []
        self._belong = self._found = 0

    def search(self, user: bytes) -> None:
        """One search, and the exhaustive one."""
        start = time.perf_counter()
        found = self._search(user, exact=False)
        self._seconds.append(time.perf_counter() - start)
        truth = self._search(user, exact=True)
        self._pairs.append(found.pairs_scored)
        self._overlaps.append(found.overlap(truth))
        new = truth.rows[truth.rows >= self._retriever.bundle.content.tree.n_items]
        self._belong += len(new)
        self._found += int(np.isin(new, found.rows).sum())

    def row(self) -> dict[str, Any]:
        """What was measured so far."""
        p50, p99 = np.percentile(self._seconds, (50, 99)) * 1e3
        return {"added": self._snapshot.n_added, "belong": self._belong,
                "found": self._found / self._belong if self._belong else None,
                "overlap": float(np.mean(self._overlaps)), "pairs": float(np.mean(self._pairs)), "p50_ms": float(p50),
                "p99_ms": float(p99), "apply_ms": self._apply / self._arrived * 1e3 if self._arrived else None}

    def _search(self, user: bytes, exact: bool) -> SearchResult:
        retriever = self._retriever
        manifest = retriever.bundle.manifest
        weights = first_task_weights(len(manifest.tasks))
        encoded = retriever.encode(Query(user_id=user, top_k=TOP_K, task_weights=weights), self._snapshot)
        return retriever.search(encoded, SearchOptions(
            top_k=TOP_K, beam_width=manifest.search.beam_width, exact=exact, task_weights=weights,
            excluded=np.empty(0, np.int64)), snapshot=self._snapshot)


def raw_features(content: BundleContent, row: int) -> dict[str, Any]:
    """The features of an ad of a bundle as a caller would send them."""
    spec, items, encoder = content.encoder.spec, content.items, content.encoder
    raw: dict[str, Any] = {}
    for column, name in enumerate(spec.fields("item", "dense")):
        mean, deviation = encoder.scales[f"item.{name}"]
        value = float(items.dense[row, column])
        raw[name] = None if math.isnan(value) else value * deviation + mean
    for column, name in enumerate(spec.fields("item", "categorical")):
        number = int(items.categorical[row, column])
        raw[name] = None if number == UNKNOWN else encoder.vocabularies[f"item.{name}"][number - 1].decode()
    for column, name in enumerate(spec.fields("item", "multi")):
        raw[name] = [value.decode() for value in encoder.vocabularies[f"item.{name}"][items.multi[column].row(row) - 1]]
    return raw
