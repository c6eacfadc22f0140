"""`python -m loadtest http`: open-loop load on a running service at given rates.

    python -m loadtest http --url http://127.0.0.1:8080 --bundle BUNDLE --rates 50,100,200 --seconds 10 --pid PID
    python -m loadtest http --url http://127.0.0.1:8080 --bundle BUNDLE --timeout-ms 50 --find-saturation
    python -m loadtest http --url URL --pid PID --url URL --pid PID --bundle BUNDLE --rates 50,50,50,50,50

Requests leave on a schedule, regardless of outstanding replies, and latency counts from the scheduled time. Users are
drawn from the bundle or the data folder by Zipf's law. The token in RETRIEVAL_READ_TOKEN is sent, if any. Prints a
table, then one JSON object on the last line. A rate is not reported if less than 99 % of its requests left within 2 ms
of their time, because the load generator was then too slow; the exit status is 2 in that case.

Several services are compared: at each rate one after the other gets the same requests, in turns of alternating order,
and the medians over the runs of a rate stand beside those of the first service.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from index_store.bundle.files import BundleFiles
from index_store.bundle.layout import USER_IDS
from index_store.bundle.manifest import BundleError
from loadtest.http.client import Address, Exchange, drive, post, real_time_priority
from loadtest.http.report import comparison, report_of_rate, side_by_side, table
from loadtest.http.tokens import READ, bearer, token_of
from model.data.checks import check_keys
from model.data.parquet_table import ParquetTable
from model.data.tables import ID_COLUMN, USERS, DataError

_WARM_UP_RATE, _WARM_UP_SECONDS = 50.0, 1.0
_GROWTH = 1.1
_MOST_REQUESTS = 500_000
CANNOT, LAGGED = 1, 2


class LoadError(Exception):
    """The load cannot be generated; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The requests and how to send them.

    Attributes:
        address, path: of the service.
        users: (U,) bytes ids, most popular first.
        zipf: exponent of their popularity.
        fields: of the body, besides the user id.
        headers: that a guarded service needs.
        timeout_ms: of every request, None for none.
        even: one request every 1 / rate seconds instead of Poisson arrivals.
        connections: number opened beforehand.
        seed: of users and arrivals.
        pid: process id of the service, whose processor time is measured with that of its children; None if remote.
    """

    address: tuple[str, int]
    path: str
    users: NDArray[np.bytes_]
    zipf: float
    fields: dict[str, Any]
    headers: dict[str, str]
    timeout_ms: float | None
    even: bool
    connections: int
    seed: int
    pid: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--url", required=True, action="append",
                        help="the running service, such as http://127.0.0.1:8080; several of them are compared")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", type=Path, help="draw users from this bundle")
    source.add_argument("--data", type=Path, help="draw users from this data folder")
    parser.add_argument("--rates", type=_rates, default=[50.0, 100.0, 200.0], metavar="R,R,…",
                        help="requests per second, one run each (default 50,100,200)")
    parser.add_argument("--find-saturation", action="store_true",
                        help="double the last rate until the goodput grows by less than a tenth")
    parser.add_argument("--seconds", type=positive, default=10.0, help="length of each run (default %(default)g)")
    parser.add_argument("--timeout-ms", type=positive,
                        help="timeout_ms of every request; goodput counts answers within 5 ms of it (default: none)")
    parser.add_argument("--body", type=_object, default={}, metavar="JSON",
                        help="more fields of every request, such as '{\"targeting\": {...}}'")
    parser.add_argument("--top-k", type=int, default=100, help="ads per request (default %(default)s)")
    parser.add_argument("--zipf", type=float, default=1.0,
                        help="exponent of the users' popularity; 0 draws all alike (default %(default)g)")
    parser.add_argument("--even", action="store_true", help="send evenly instead of as Poisson arrivals")
    parser.add_argument("--connections", type=int, default=256,
                        help="connections opened beforehand; more are opened as needed (default %(default)s)")
    parser.add_argument("--pid", type=int, action="append", default=[],
                        help="process id of the service, if it runs here: reports its processor time; of several, in "
                             "the order of the URLs")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and arrivals (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fine, 1 service, bundle, data or process not found, 2 a rate was not reported because of lag."""
    try:
        loads = _loads(args, users_of(args.bundle, args.data))
        rows = measure(loads, args.rates, args.seconds, args.find_saturation)
    except (LoadError, BundleError, DataError, psutil.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT
    except OSError as error:
        print(f"error: {' or '.join(args.url)} cannot be reached ({error}); start the service there: "
              "python -m service BUNDLE", file=sys.stderr)
        return CANNOT
    reports = [{"url": url, "seconds": args.seconds, "users": len(load.users), "zipf": args.zipf,
                "arrivals": "even" if args.even else "poisson", "timeout_ms": args.timeout_ms, "fields": load.fields,
                "rates": of_load} for url, load, of_load in zip(args.url, loads, rows, strict=True)]
    print("\n\n".join(map(table, reports)))
    if len(reports) == 1:
        print(json.dumps(reports[0], allow_nan=False))
    else:
        medians = side_by_side(reports)
        print(comparison(medians))
        print(json.dumps({"services": reports, "medians": medians}, allow_nan=False))
    return 0 if all(row["reported"] for of_load in rows for row in of_load) else LAGGED


def _loads(args: argparse.Namespace, users: NDArray[np.bytes_]) -> list[Load]:
    """The load on each of the services."""
    if len(args.pid) not in (0, len(args.url)):
        raise LoadError(f"there are {len(args.url)} x --url and {len(args.pid)} x --pid; give one of each service, or "
                        "none")
    if len(args.url) > 1 and args.find_saturation:
        raise LoadError(f"--find-saturation and {len(args.url)} x --url: the rates would not be the same; name one")
    loads = []
    for url, pid in zip(args.url, args.pid or [None] * len(args.url), strict=True):
        address, path = target_of(url)
        loads.append(Load(address=address, path=path, users=users, zipf=args.zipf,
                          fields={"top_k": args.top_k, **args.body}, headers=bearer(token_of(READ)),
                          timeout_ms=args.timeout_ms, even=args.even, connections=max(1, args.connections),
                          seed=args.seed, pid=pid))
    return loads


def measure(loads: list[Load], rates: list[float], seconds: float,
            find_saturation: bool) -> list[list[dict[str, Any]]]:
    """The rows of each load, one a rate; with `find_saturation` of doubled ones until the goodput hardly grows.

    Every second rate is given in the reverse order, since a machine's speed drifts.

    Raises:
        LoadError: there are too many requests to prepare.
        OSError: nothing listens there.
    """
    if (most := round(max(rates) * seconds)) > _MOST_REQUESTS:
        raise LoadError(f"{max(rates):g} requests per second for {seconds:g} s are {most}, at most {_MOST_REQUESTS} "
                        "can be prepared; give a shorter --seconds")
    rows: list[list[dict[str, Any]]] = [[] for _ in loads]
    for load in loads:
        one_rate(load, min(rates[0], _WARM_UP_RATE), _WARM_UP_SECONDS, 0)
    for number, rate in enumerate(rates, start=1):
        turns = list(zip(loads, rows, strict=True))
        for load, of_load in turns if number % 2 else reversed(turns):
            of_load.append(one_rate(load, rate, seconds, number))
    if find_saturation:
        _saturate(loads[0], rows[0], seconds)
    return rows


def _saturate(load: Load, rows: list[dict[str, Any]], seconds: float) -> None:
    """Adds rows of twice the rate of the last one until the goodput hardly grows."""
    best = max(row.get("goodput", 0.0) for row in rows)
    while 2 * rows[-1]["rate"] * seconds <= _MOST_REQUESTS:
        rows.append(one_rate(load, 2 * rows[-1]["rate"], seconds, len(rows) + 1))
        if not rows[-1]["reported"] or rows[-1]["goodput"] <= _GROWTH * best:
            break
        best = rows[-1]["goodput"]


def arrivals(load: Load, rate: float, seconds: float, number: int) -> list[tuple[float, bytes]]:
    """When to send which request; `number` seeds users and arrivals along with the seed of the load."""
    random = np.random.default_rng([load.seed, number])
    count = max(1, round(rate * seconds))
    # Given their number, arrivals of a Poisson process are uniform.
    offsets = np.arange(count) / rate if load.even else np.sort(random.random(count)) * seconds
    cumulative = np.cumsum(np.arange(1, len(load.users) + 1) ** -load.zipf)
    ranks = np.searchsorted(cumulative, random.random(count) * cumulative[-1], side="right")
    request_of = _requests(load)
    requests = [request_of(user) for user in load.users[ranks].tolist()]
    return list(zip(offsets.tolist(), requests, strict=True))


def one_rate(load: Load, rate: float, seconds: float, number: int) -> dict[str, Any]:
    """The report of one rate; `number` as in `arrivals`."""
    exchanges, cpu_seconds = sent(load, [load.address], arrivals(load, rate, seconds, number))
    return report_of_rate(rate, seconds, exchanges, load.timeout_ms, cpu_seconds)


def sent(load: Load, addresses: Sequence[Address],
         requests: Sequence[tuple[float, bytes]]) -> tuple[list[Exchange], float | None]:
    """Sends requests to the addresses in turn; their exchanges, and the processor time of the load's process."""
    before = _cpu_seconds(load.pid)
    gc.collect()
    gc.disable()  # a collection would delay requests
    try:
        with real_time_priority():
            exchanges = drive(addresses, requests, load.connections)
    finally:
        gc.enable()
    after = _cpu_seconds(load.pid)
    return exchanges, None if before is None or after is None else after - before


def _requests(load: Load) -> Callable[[bytes], bytes]:
    fields = load.fields | ({} if load.timeout_ms is None else {"timeout_ms": load.timeout_ms})
    host, port = load.address

    def request_of(user: bytes) -> bytes:
        body = json.dumps({"user_id": user.decode(), **fields}).encode()
        return post(f"{load.path}/retrieve", body, f"{host}:{port}", load.headers)

    return request_of


def _cpu_seconds(pid: int | None) -> float | None:
    if pid is None:
        return None
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in [parent, *parent.children(recursive=True)]]
    return float(sum(t.user + t.system for t in times))


def target_of(url: str) -> tuple[tuple[str, int], str]:
    """Address and path of a URL; raises LoadError if it is none."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise LoadError(f"--url is {url!r}, a URL such as http://127.0.0.1:8080 was expected")
    try:
        return (parts.hostname, parts.port or 80), parts.path.rstrip("/")
    except ValueError as error:
        raise LoadError(f"--url is {url!r}: {error}") from error


def users_of(bundle: Path | None, data: Path | None) -> NDArray[np.bytes_]:
    """Ids, most popular first: shuffled, because they are sorted in both sources."""
    if bundle is not None:
        ids = BundleFiles(bundle, verify=False).array(USER_IDS, "S", (None,))
    else:
        column = ID_COLUMN["user"]
        table = ParquetTable((data or Path()) / USERS, [column])
        users = table.column(pa.field(column, pa.string()))
        check_keys(table, column, users, nullable=False)
        ids = np.array([user.encode() for user in users.to_pylist()])
    if not len(ids):
        raise LoadError(f"{bundle or data} has no users; name one that has some")
    return np.random.default_rng(0).permutation(ids)


def _rates(text: str) -> list[float]:
    return [positive(part) for part in text.split(",")]


def positive(text: str) -> float:
    """A positive number, as a type of an argument."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value
