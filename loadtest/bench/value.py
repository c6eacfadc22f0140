"""`python -m loadtest value`: searches by eCPM against an exhaustive one, and against what one would do instead.

    python -m loadtest value --bundle bundles/synthetic --prices campaigns.json

`--prices` draws the bids from the winning prices of campaigns: an object, campaign -> {"price_counter_train": [n, ...]}
with the impressions won at price 0, 1, ... for a thousand. Each ad gets a campaign and one of its prices; a CPC or CPA
bid is the one that yields this price at the mean probability. Without it the bundle's own bids count. Searches run in
this process, those of each user in random order; times are processor time of their thread, from a request's fields to
the top 100. `--max-per brand` adds searches that return at most 2 ads of a brand, beside an exhaustive one that does
the same. `value` is the eCPM of what was found over that of the exhaustive top 100. In the rows `moving`, another
thread applies bids to the snapshot meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import Change, Kind
from index_store.declaration.spec import BidType
from index_store.declaration.values import FeatureError
from index_store.live.snapshot import Snapshot
from index_store.search.beam_search import BeamSearch
from index_store.search.caps import Caps, check_max_per
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import SearchResult, best, first_task_weights
from index_store.value.bids import BID, BID_TYPES, AdBids, Bid
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import IMPRESSIONS, Valuation
from loadtest.bench.prices import winning_prices
from loadtest.bench.report import table
from loadtest.rivals.searches import TOP_K
from model.data.tables import DataError
from model.progress.bars import Bar
from service.contract.query import Query
from service.retrieval.retriever import Retriever

OVERFETCH = 10
"""Times as many ads are retrieved by score where the bids are multiplied in afterwards."""

RATE, BATCH = 1_000, 10
"""Bids that move a second, and in one change of the snapshot."""

CAP = 2
"""Ads of one value that a capped search returns at most."""

SAMPLED_USERS, SAMPLED_ADS = 20, 2_000
"""Pairs whose mean probability the bids are drawn by."""

MIXES: Mapping[str, tuple[BidType, ...]] = {"CPC": ("CPC",), "CPM, CPC, CPA": ("CPM", "CPC", "CPA"), "CPM": ("CPM",)}

Search = Callable[[bytes, Snapshot], SearchResult]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a calibrated bundle with users")
    parser.add_argument("--prices", type=Path, help="JSON file of winning prices (default: the bundle's own bids)")
    parser.add_argument("--max-per", metavar="FIELD",
                        help=f"ad field or role; adds searches capped at {CAP} ads of one value of it")
    parser.add_argument("--queries", type=int, default=100, help="users to ask as (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and bids (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 bundle or prices cannot be used."""
    try:
        report = value(args.bundle, args.prices, args.max_per, queries=args.queries, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def value(folder: Path, prices: Path | None, capped: str | None = None, *, queries: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `ads`, `queries`, `apply_ms` (of a change of BATCH bids); `rows`, each with `bids`, `search`, `overlap`,
        `value`, `pairs` and `p50_ms`.

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no users, no calibration or no bids, `capped` cannot be capped, or the prices cannot be read.
    """
    opened = Bundle.open(folder)
    if opened.content.calibrations is None:
        raise DataError(f"bundle {opened.bundle_id} holds no calibration, so there is no eCPM; export a run on "
                        "impressions that has test events")
    users = np.random.default_rng([seed, 0]).permutation(opened.content.users.ids)[:queries].tolist()
    if not users:
        raise DataError(f"bundle {opened.bundle_id} has no users; the measurement needs known ones: export a run "
                        "that has users")
    try:
        measurement = _Measurement(Retriever(opened), users, seed, capped)
    except FeatureError as error:
        raise DataError(f"{error}") from error
    rows, apply_ms = [], 0.0
    for name, bids in _drawn(measurement, prices, seed):
        found, apply_ms = measurement.measured(bids)
        rows += [{"bids": name, **row} for row in found]
    return {"ads": opened.content.tree.n_items, "queries": len(users), "apply_ms": apply_ms, "rows": rows}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(row["bids"], row["search"], f"{row['overlap']:.3f}", f"{row['value']:.3f}", f"{row['pairs']:,.0f}",
             f"{row['p50_ms']:.2f}") for row in report["rows"]]
    return "\n".join([f"{report['ads']:,} ads, {report['queries']:,} queries on one thread, p50 in milliseconds of its "
                      f"processor time; a change of {BATCH} bids takes {report['apply_ms']:.2f}.", "",
                      table(("bids", "search", "overlap@100", "value", "pairs", "p50"), rows)])


def _drawn(measurement: _Measurement, prices: Path | None, seed: int) -> Iterator[tuple[str, AdBids]]:
    """Bids of all ads by position, for each of MIXES; those of the bundle alone without prices."""
    content = measurement.retriever.bundle.content
    if prices is None:
        if content.bids is None:
            raise DataError(f"bundle {measurement.retriever.bundle.bundle_id} has no bids; give --prices, or export "
                            "ads that have some")
        yield "its own", content.bids
        return
    won = winning_prices(prices)
    random, n = np.random.default_rng([seed, 1]), content.tree.n_items
    campaign = random.integers(0, len(won), n)
    price = np.empty(n)
    for number, shares in enumerate(won):
        mine = campaign == number
        price[mine] = random.choice(len(shares), int(mine.sum()), p=shares)
    price = np.maximum(price + random.random(n) - 0.5, 0.01)  # prices are whole numbers; without that, many tie
    paid, mean = content.encoder.spec.paid, measurement.mean_probabilities()
    for name, kinds in MIXES.items():
        if not set(kinds) <= set(paid):
            continue
        types = random.choice([BID_TYPES.index(kind) for kind in kinds], n)
        rates = np.array([1.0 if (task := paid.get(kind)) is None else IMPRESSIONS * mean[task] for kind in BID_TYPES])
        yield name, AdBids(np.maximum(1, price * 1e6 / rates[types]).astype(np.int64), types.astype(np.uint8))


@dataclass(frozen=True, eq=False)
class _ByScore(Valuation):
    """Ranks items by eCPM, but steers the beam by score alone."""

    def of_nodes(self, level: int, nodes: NDArray[np.int64], logits: NDArray[np.float32],
                 scores: NDArray[np.float32]) -> NDArray[np.float64]:
        return scores.astype(np.float64)


@dataclass
class _Measured:
    """Searches of one kind."""

    overlap: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self, name: str) -> dict[str, Any]:
        return {"search": name, "overlap": float(np.mean(self.overlap)), "value": float(np.mean(self.value)),
                "pairs": float(np.mean(self.pairs)), "p50_ms": float(np.median(self.seconds)) * 1e3}


@dataclass(frozen=True)
class _Measurement:
    """Searches of one bundle for some users; `capped` is what some of them cap.

    Raises:
        FeatureError: it cannot be capped.
    """

    retriever: Retriever
    users: Sequence[bytes]
    seed: int
    capped: str | None

    def __post_init__(self) -> None:
        check_max_per(self.retriever.bundle.content.encoder.spec, self._max_per)

    @property
    def _max_per(self) -> dict[str, int]:
        return {} if self.capped is None else {self.capped: CAP}

    def mean_probabilities(self) -> NDArray[np.float64]:
        """By task, over pairs of users and ads."""
        content, random = self.retriever.bundle.content, np.random.default_rng([self.seed, 2])
        assert content.calibrations is not None
        ads = np.sort(random.permutation(content.tree.n_items)[:SAMPLED_ADS]).astype(np.int64)
        found = [content.calibrations.probabilities(self.retriever.scorer.score(
            self._query(user), content.tree.depth, ads)).mean(axis=0) for user in self.users[:SAMPLED_USERS]]
        mean: NDArray[np.float64] = np.mean(found, axis=0)
        return mean

    def measured(self, bids: AdBids) -> tuple[list[dict[str, Any]], float]:
        """Rows of all searches, at rest and while bids move, and the milliseconds that a change of BATCH bids takes."""
        tree = self.retriever.bundle.content.tree
        width = self.retriever.bundle.manifest.search.beam_width
        wide = tuple(2 * one for one in width)
        snapshot = replace(self.retriever.sealed, bids=LiveBids.sealed(tree, bids))
        searches: dict[str, Search] = {
            "by score, then x bid": lambda user, now: self._rebid(user, now, TOP_K),
            f"{OVERFETCH}x as many by score, then x bid": lambda user, now: self._rebid(user, now, OVERFETCH * TOP_K),
            "beam by score, ads by eCPM": lambda user, now: self._beam(user, self._valuation(now, _ByScore), width),
            "by eCPM": lambda user, now: self._beam(user, self._valuation(now), width),
            "by eCPM, twice as wide": lambda user, now: self._beam(user, self._valuation(now), wide)}
        caps = self.retriever.caps(self._max_per, self.retriever.sealed)
        under_caps = {f"by eCPM, {CAP} per {self.capped}": caps} if caps is not None else {}
        for name in under_caps:
            searches[name] = lambda user, now: self._beam(user, self._valuation(now), width, caps=caps)
        at_rest = self._compared(searches, lambda: snapshot, under_caps)
        moving = _Moving(snapshot, self.seed)
        with moving.running():
            names = ("by score, then x bid", "by eCPM")
            while_moving = self._compared({name: searches[name] for name in names}, lambda: moving.snapshot, {})
        return [*(one.row(name) for name, one in at_rest.items()),
                *(one.row(f"{name}, moving") for name, one in while_moving.items())], moving.apply_ms

    def _compared(self, searches: Mapping[str, Search], newest: Callable[[], Snapshot],
                  caps: Mapping[str, Caps]) -> dict[str, _Measured]:
        """Each search for each user, beside the exhaustive one over the same snapshot under the same caps."""
        random, measured = np.random.default_rng([self.seed, 3]), {name: _Measured() for name in searches}
        names = list(searches)
        for user in Bar(self.users, desc="searches", unit="user", leave=False):
            truths: dict[tuple[Snapshot, Caps | None], SearchResult] = {}
            for at in random.permutation(len(names)).tolist():
                now, one = newest(), measured[names[at]]
                start = time.thread_time()
                found = searches[names[at]](user, now)
                one.seconds.append(time.thread_time() - start)
                one.pairs.append(found.pairs_scored)
                asked = now, caps.get(names[at])
                if asked not in truths:
                    truths[asked] = self._exhaustive(user, self._valuation(now), asked[1])
                truth = truths[asked]
                assert found.ecpm is not None
                assert truth.ecpm is not None
                one.overlap.append(found.overlap(truth))
                one.value.append(float(found.ecpm.sum() / truth.ecpm.sum()))
        return measured

    def _valuation(self, snapshot: Snapshot, kind: type[Valuation] = Valuation) -> Valuation:
        content = self.retriever.bundle.content
        assert content.calibrations is not None
        return kind(content.calibrations, content.encoder.spec.paid, snapshot.bids)

    def _query(self, user: bytes) -> Any:
        weights = first_task_weights(len(self.retriever.bundle.manifest.tasks))
        return self.retriever.query(self.retriever.encode(Query(user_id=user, top_k=TOP_K, task_weights=weights)))

    def _beam(self, user: bytes, valuation: Valuation | None, width: tuple[int, ...],
              top_k: int = TOP_K, caps: Caps | None = None) -> SearchResult:
        tree, tasks = self.retriever.bundle.content.tree, len(self.retriever.bundle.manifest.tasks)
        return BeamSearch(tree, self.retriever.scorer).search(
            self._query(user), top_k=top_k, beam_width=width, task_weights=first_task_weights(tasks),
            valuation=valuation, caps=caps)

    def _exhaustive(self, user: bytes, valuation: Valuation, caps: Caps | None) -> SearchResult:
        tree, tasks = self.retriever.bundle.content.tree, len(self.retriever.bundle.manifest.tasks)
        return ExhaustiveSearch(tree, self.retriever.scorer).search(
            self._query(user), top_k=TOP_K, task_weights=first_task_weights(tasks), valuation=valuation,
            caps=caps)

    def _rebid(self, user: bytes, snapshot: Snapshot, fetched: int) -> SearchResult:
        """The best by score, of which those of the highest eCPM."""
        found = self._beam(user, None, self.retriever.bundle.manifest.search.beam_width, fetched)
        worth = self._valuation(snapshot).of_items(snapshot.positions(found.rows), found.logits, found.scores)
        kept = best(worth, found.rows, TOP_K)
        return replace(found, rows=found.rows[kept], ecpm=worth[kept])


class _Moving:
    """A snapshot whose bids move by up to a tenth, RATE of them a second.

    Args:
        snapshot: to begin with.
        seed: of the bids.
    """

    def __init__(self, snapshot: Snapshot, seed: int) -> None:
        self.snapshot, self._random = snapshot, np.random.default_rng([seed, 4])
        self._stopped = threading.Event()
        self._seconds: list[float] = []

    @property
    def apply_ms(self) -> float:
        """Median time of a change of BATCH bids."""
        return float(np.median(self._seconds)) * 1e3

    @contextmanager
    def running(self) -> Iterator[None]:
        """Bids move within the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _run(self) -> None:
        stopped = False
        while not stopped:
            changes = self._changes()
            start = time.thread_time()
            self.snapshot = self.snapshot.with_changes(changes)
            self._seconds.append(time.thread_time() - start)
            stopped = self._stopped.wait(BATCH / RATE)

    def _changes(self) -> list[Change]:
        now, tree = self.snapshot, self.snapshot.tree
        rows = self._random.integers(0, tree.n_items, BATCH)
        bids = now.bids.listed(now.positions(rows))
        moved = [None if bid is None else Bid(max(1, int(bid.micros * self._random.uniform(0.9, 1.1))), bid.type)
                 for bid in bids]
        return [Change(sequence=sequence, at=0.0, kind=Kind.AD, id=ad_id,
                       fields={BID: None if bid is None else bid.to_json()})
                for sequence, (ad_id, bid) in enumerate(zip(now.ad_ids(rows), moved, strict=True), start=now.as_of + 1)]
