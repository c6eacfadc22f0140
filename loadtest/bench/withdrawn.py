"""`python -m loadtest withdrawn`: latency of searches while none, one, 500 or a quarter of the ads are withdrawn.

    python -m loadtest withdrawn --bundle bundles/synthetic

Times run from a request's fields to the top ads in this process, with the bundle's default beam; the searches of each
user run in random order. A targeted request asks for one half of the ads, as nearly as one value of an ad field gives
it. `changed` is a targeted search that is the first one after a change of another ad, so that nothing which depends on
the withdrawn ads is cached. `apply` is the time that one more change takes a worker.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import Change, Kind
from index_store.features.encoder import UNKNOWN
from index_store.live.ad_changes import STATUS
from index_store.live.snapshot import Snapshot
from index_store.live.withdrawals import Status
from index_store.search.ranking import first_task_weights
from loadtest.bench.report import table
from loadtest.rivals.searches import TOP_K
from model.data.tables import DataError
from model.progress.bars import Bar
from service.contract.query import Query, SearchOptions
from service.retrieval.retriever import Retriever

KINDS = ("untargeted", "targeted", "changed")
WARM_UP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle with users and a categorical ad field")
    parser.add_argument("--queries", type=int, default=200, help="users to time, one at a time (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and withdrawn ads (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used, 2 an ad came back."""
    try:
        report = withdrawn(args.bundle, queries=args.queries, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0 if all(row["sound"] for row in report["rows"]) else 2


def withdrawn(folder: Path, *, queries: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `ads`, `queries`, `targeting`; `rows`: one for each number of withdrawn ads, with `withdrawn`, `<kind>_p50_ms`
        and `<kind>_pairs` for each of KINDS, `apply_ms`, and `sound`: every answer had min(K, eligible) ads, and none
        was withdrawn.

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no users, or no categorical ad field.
    """
    opened = Bundle.open(folder)
    random = np.random.default_rng(seed)
    users = random.permutation(opened.content.users.ids)[:queries]
    if not len(users):
        raise DataError(f"bundle {opened.bundle_id} has no users; the measurement needs known ones: export a run "
                        "that has users")
    targeting, retriever = _half(opened), Retriever(opened)
    ads = opened.content.tree.n_items
    *gone, other = random.permutation(opened.content.encoder.item_ids)[:ads // 4 + 1].tolist()
    measured = [_Measured(retriever, gone[:number], other) for number in sorted({0, 1, min(500, len(gone)), len(gone)})]
    for n in Bar([*range(min(WARM_UP, len(users))), *range(len(users))], desc="latency", unit="user"):
        for at in random.permutation(len(measured) * len(KINDS)):
            which, kind = divmod(int(at), len(KINDS))
            measured[which].search(KINDS[kind], users[n], targeting if kind else None, n)
    return {"ads": ads, "queries": len(users), "targeting": targeting, "rows": [one.row() for one in measured]}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(f"{row['withdrawn']:,}", *(cell for kind in KINDS for cell in (
        f"{row[f'{kind}_p50_ms']:.2f}", f"{row[f'{kind}_pairs']:,.0f}")), f"{row['apply_ms']:.2f}",
        "yes" if row["sound"] else "NO") for row in report["rows"]]
    head = ("withdrawn", *(cell for kind in KINDS for cell in (kind, "pairs")), "apply", "sound")
    return "\n".join([f"{report['ads']:,} ads, {report['queries']:,} queries on one thread, p50 in milliseconds.", "",
                      table(head, rows)])


class _Measured:
    """Searches with some ads withdrawn.

    Args:
        retriever: of the bundle.
        gone: ids of these ads.
        other: id of the ad that is withdrawn in addition before each search of the kind `changed`.
    """

    def __init__(self, retriever: Retriever, gone: list[bytes], other: bytes) -> None:
        self._retriever, self._gone = retriever, set(gone)
        self._change = _paused(len(gone) + 1, other)
        self._seconds: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
        self._pairs: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self._sound = True
        self._snapshot = retriever.sealed.with_changes([_paused(at, ad) for at, ad in enumerate(gone, start=1)])
        self._apply: list[float] = []

    def search(self, kind: str, user: bytes, targeting: Mapping[str, Any] | None, number: int) -> None:
        """One search; a later one of the same kind and number replaces its time."""
        retriever, weights = self._retriever, first_task_weights(len(self._retriever.bundle.manifest.tasks))
        snapshot = self._changed() if kind == "changed" else self._snapshot
        start = time.perf_counter()
        encoded = retriever.encode(Query(user_id=user, top_k=TOP_K, task_weights=weights, targeting=targeting))
        found = retriever.search(encoded, SearchOptions(
            top_k=TOP_K, beam_width=retriever.bundle.manifest.search.beam_width, exact=False, task_weights=weights,
            excluded=np.empty(0, np.int64)), snapshot=snapshot)
        self._seconds[kind][number] = time.perf_counter() - start
        self._pairs[kind].append(found.pairs_scored)
        returned = retriever.bundle.content.encoder.item_ids[found.rows].tolist()
        self._sound &= len(returned) == min(TOP_K, found.eligible) and self._gone.isdisjoint(returned)

    def row(self) -> dict[str, Any]:
        """Medians and means so far."""
        row: dict[str, Any] = {"withdrawn": len(self._gone), "apply_ms": float(np.median(self._apply)) * 1e3,
                               "sound": self._sound}
        for kind in KINDS:
            row[f"{kind}_p50_ms"] = float(np.median(list(self._seconds[kind].values()))) * 1e3
            row[f"{kind}_pairs"] = float(np.mean(self._pairs[kind]))
        return row

    def _changed(self) -> Snapshot:
        """A new snapshot, after one more change."""
        start = time.perf_counter()
        snapshot = self._snapshot.with_changes([self._change])
        self._apply.append(time.perf_counter() - start)
        return snapshot


def _paused(sequence: int, ad: bytes) -> Change:
    return Change(sequence=sequence, at=0.0, kind=Kind.AD, id=ad.decode(), fields={STATUS: Status.PAUSED.value})


def _half(opened: Bundle) -> dict[str, Any]:
    """A predicate that one half of the ads satisfy, as nearly as one value of a categorical field gives it."""
    content = opened.content
    best: tuple[float, dict[str, Any]] | None = None
    for column, name in enumerate(content.encoder.spec.fields("item", "categorical")):
        counts = np.bincount(content.items.categorical[:, column])
        counts[UNKNOWN] = 0
        away = np.abs(counts / content.tree.n_items - 0.5)
        value = content.encoder.vocabularies[f"item.{name}"][int(away.argmin()) - 1].decode()
        if best is None or away.min() < best[0]:
            best = float(away.min()), {"field": name, "in": [value]}
    if best is None:
        raise DataError(f"bundle {opened.bundle_id} has no categorical ad field, which the targeted searches need")
    return best[1]
