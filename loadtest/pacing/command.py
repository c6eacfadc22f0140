"""`python -m loadtest pacing`: days of a market replayed with and without pacing, against perfect knowledge.

    python -m loadtest pacing --bundle bundles/synthetic --prices campaigns.json --spend ads.csv.gz

The ads of the bundle are divided among campaigns at random. Each campaign has the winning prices of one of those of
`--prices` (see `value`), for its bids and for what others pay, and a daily budget in proportion to what some ad of
`--spend` spent a day (gzipped CSV with the columns spend, currency, start and end). Budgets together are `--share` of
what the campaigns would spend without any, before none is less than 300 impressions cost: a budget of a few cannot be
met within 3 %. A user's request has five places, for each of which an ad bids its eCPM against what others pay; it pays
that, or what the next ad of the answer bids. Two days are replayed in this process by a simulated clock; pacing knows
the traffic of the second one from the first.

Counted are the campaigns that spend their budgets without pacing. `value` is the eCPM of the impressions won, for one
impression each; perfect knowledge is an upper bound on it (Lagrangian relaxation of the budgets), at the prices of
others alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.search.ranking import first_task_weights
from loadtest.bench.prices import winning_prices
from loadtest.bench.report import table
from loadtest.pacing.bound import upper_bound
from loadtest.pacing.market import MICROS, Market, daily_spend
from loadtest.pacing.replay import PLACES, Outcome, Replay, Requests
from model.data.tables import DataError
from service.contract.query import Query
from service.retrieval.retriever import Retriever

WITHIN = 0.03
LEAST_PRICES = 300
TIMED = 400
_RATE_USERS, _RATE_ADS = 20, 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a calibrated bundle with users and CPC bids")
    parser.add_argument("--prices", type=Path, required=True, help="JSON file of winning prices")
    parser.add_argument("--spend", type=Path, required=True, help="gzipped CSV of what ads spent")
    parser.add_argument("--campaigns", type=int, default=200, help="their number (default %(default)s)")
    parser.add_argument("--requests", type=int, default=20_000, help="of each day (default %(default)s)")
    parser.add_argument("--share", type=float, default=0.5,
                        help="of what is spent without budgets, that all budgets make up (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 bundle or files cannot be used."""
    try:
        report = pacing(args.bundle, args.prices, args.spend, campaigns=args.campaigns, requests=args.requests,
                        share=args.share, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def pacing(folder: Path, prices: Path, spend: Path, *, campaigns: int, requests: int, share: float,
           seed: int) -> dict[str, Any]:
    """Replays two days without budgets, with unpaced ones, and with paced ones.

    Returns:
        `ads`, `campaigns`, `requests`, `spend_out` (campaigns that do unpaced); `rows`, each with `day`, `budgets`,
        `within` (share of these campaigns that end within WITHIN of their budgets), `overspend` (in total, over all
        budgets), `spent` (over these budgets), `value` and `of_bound`; `p50_ms` of a search without and with budgets.

    Raises:
        BundleError: it cannot be opened.
        DataError: the bundle or a file does not hold what is needed.
    """
    retriever = Retriever(Bundle.open(folder))
    content = retriever.bundle.content
    task = content.encoder.spec.paid.get("CPC")
    if content.calibrations is None or task is None or not len(content.users.ids):
        raise DataError(f"bundle {retriever.bundle.bundle_id} has no calibration, no task that CPC bids pay for, or no "
                        "users; export a run on impressions that declares one")
    market = Market.drawn(winning_prices(prices), daily_spend(spend), positions=content.tree.n_items,
                          campaigns=campaigns, rate=_click_rate(retriever, task, seed), seed=seed)
    replay = Replay(retriever, market, Requests.drawn(content.users.ids.tolist(), requests, 2, seed), seed)
    free = replay.run({}, remember=True)
    budgets = _budgets(market, free, share)
    named = dict(zip(market.names, budgets.tolist(), strict=True))
    unpaced, paced = replay.run(named, paced=False), replay.run(named)
    out = unpaced.spent[-1] >= budgets * (1 - WITHIN)
    bound = _bound(free, budgets)
    rows = [_row(day, name, outcome, budgets, out, bound if day == 1 else None)
            for day in range(2) for name, outcome in (("none", free), ("unpaced", unpaced), ("paced", paced))]
    return {"ads": content.tree.n_items, "campaigns": campaigns, "requests": requests, "spend_out": int(out.sum()),
            "rows": rows, "p50_ms": _timed(replay, named)}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    def shown(value: float | None, digits: int = 3) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    rows = [(f"{row['day'] + 1}", row["budgets"], shown(row["within"]), shown(row["overspend"], 4),
             shown(row["spent"]), f"{row['value']:,.0f}", shown(row["of_bound"])) for row in report["rows"]]
    p50 = report["p50_ms"]
    return "\n".join([
        f"{report['ads']:,} ads of {report['campaigns']:,} campaigns, {report['requests']:,} requests a day; "
        f"{report['spend_out']:,} campaigns spend their budgets when nothing paces them. A search takes "
        f"{p50['without']:.2f} ms without budgets, {p50['with']:.2f} ms with them.", "",
        table(("day", "budgets", f"within {WITHIN:.0%}", "overspend", "spent", "value", "of the bound"), rows)])


def _click_rate(retriever: Retriever, task: int, seed: int) -> float:
    """Mean probability of a click over random pairs."""
    content, random = retriever.bundle.content, np.random.default_rng([seed, 2])
    ads = np.sort(random.permutation(content.tree.n_items)[:_RATE_ADS]).astype(np.int64)
    assert content.calibrations is not None
    users = random.permutation(content.users.ids)[:_RATE_USERS].tolist()
    weights = first_task_weights(len(retriever.bundle.manifest.tasks))
    return float(np.mean([content.calibrations.probability(task, retriever.scorer.score(
        retriever.query(retriever.encode(Query(user_id=user, top_k=1, task_weights=weights))),
        content.tree.depth, ads)).mean() for user in users]))


def _budgets(market: Market, free: Outcome, share: float) -> NDArray[np.int64]:
    """(C,) micros a day."""
    least = LEAST_PRICES * free.spent[-1].sum() / free.shown[-1].sum()
    scaled = market.budgets / market.budgets.sum() * free.spent[-1].sum() * share
    budgets: NDArray[np.int64] = np.maximum(scaled, least).astype(np.int64)
    return budgets


def _bound(free: Outcome, budgets: NDArray[np.int64]) -> float:
    campaigns, values, prices = (np.stack(arrays) for arrays in zip(*free.candidates, strict=True))
    return upper_bound(values, prices.astype(np.float64), campaigns, budgets.astype(np.float64), PLACES)


def _row(day: int, name: str, outcome: Outcome, budgets: NDArray[np.int64], out: NDArray[np.bool_],
         bound: float | None) -> dict[str, Any]:
    spent, won = outcome.spent[day], float(outcome.won[day].sum())
    row: dict[str, Any] = {"day": day, "budgets": name, "value": won / MICROS, "within": None, "overspend": None,
                           "spent": None, "of_bound": None}
    if name == "none":
        return row
    row["overspend"] = float(np.maximum(spent - budgets, 0).sum() / budgets.sum())
    if out.any():
        row["within"] = float((np.abs(spent[out] / budgets[out] - 1) <= WITHIN).mean())
        row["spent"] = float(spent[out].sum() / budgets[out].sum())
    return row | {"of_bound": None if bound is None else won / bound}


def _timed(replay: Replay, budgets: dict[str, int]) -> dict[str, float]:
    """Median processor time of a search, in milliseconds, without budgets and with paced ones, taken in turn."""
    snapshots = {"without": replay.snapshot({}), "with": replay.snapshot(budgets)}
    seconds: dict[str, list[float]] = {name: [] for name in snapshots}
    for number in range(TIMED):
        for name, snapshot in snapshots.items():
            start = time.thread_time()
            replay.search(number, snapshot, 100)
            seconds[name].append(time.thread_time() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in seconds.items()}
