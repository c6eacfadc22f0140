"""`python -m loadtest churn`: ads are added, paused, resumed and retargeted while two replicas answer.

    python -m loadtest churn --bundle bundles/synthetic --rate 1000 --seconds 30

Two services follow one new change log. After a quiet time, writes reach the first of them at the given rate: 70 % pause
an ad or resume one, 20 % take an ad's audience away or give it back, 10 % add an ad with the features of another one.
All the while both are asked for ads at a constant rate. Each answer names the last change that it takes into account;
afterwards it is compared with what the acknowledged writes had made of its ads by then. At the end answers of the beam
are compared with exhaustive ones over the ads of that moment.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from loadtest.bench.added import raw_features
from loadtest.processes.replicas import call, two_replicas
from model.data.tables import DataError

BATCHES = 20
"""Calls a second that write."""

PAUSED, RETARGETED = 0.7, 0.9
"""Shares of the writes up to which they change a status, and up to which they change an audience."""

NOBODY: dict[str, Any] = {"any": []}
"""A predicate that holds for no user."""

_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.002
_THREADS = 2
"""Threads that ask each replica."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that both services serve; it needs users")
    parser.add_argument("--rate", type=int, default=1_000, help="changes a second (default %(default)s)")
    parser.add_argument("--reads", type=float, default=40.0, help="answers a second of both (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0,
                        help="time of the quiet part and of the writes, each (default %(default)s)")
    parser.add_argument("--compared", type=int, default=100, help="users to compare at the end (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each service (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and changes (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a list, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used, 2 a hidden ad came."""
    try:
        report = churn(args.bundle, rate=args.rate, reads=args.reads, seconds=args.seconds, compared=args.compared,
                       workers=args.workers, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(in_words(report))
    print(json.dumps(report, allow_nan=False))
    return 2 if report["leaked"] else 0


def churn(folder: Path, *, rate: int, reads: float, seconds: float, compared: int, workers: int,
          seed: int) -> dict[str, Any]:
    """Starts two services and plays the changes.

    Returns:
        `changes`, `changes_per_second`, `added`; `acknowledged_*` and `visible_*`: milliseconds until a call was
        durable, and until every worker of both services had applied it; `answers` and `leaked`, appearances of hidden
        ads in them; `quiet_*` and `busy_*`, milliseconds of an answer; `overlap`, and `found` of the `belong` added ads
        in exhaustive answers (null where none belongs).

    Raises:
        BundleError: the bundle cannot be opened.
        DataError: it has no users.
    """
    opened = Bundle.open(folder)
    users = opened.content.users.ids
    if not len(users):
        raise DataError(f"bundle {opened.bundle_id} has no users to ask as; export a run that has users")
    random = np.random.default_rng(seed)
    with two_replicas(folder, workers) as addresses:
        readers = _Readers(addresses, [user.decode() for user in users.tolist()], reads, seed)
        quiet = readers.ask(seconds, "quiet")
        writer = _Writer(opened, addresses, random)
        thread = threading.Thread(target=writer.write, args=(rate, seconds))
        thread.start()
        busy = readers.ask(seconds, "writes")
        thread.join()
        if writer.failure is not None:
            raise writer.failure
        asked = [user.decode() for user in random.choice(users, min(compared, len(users)), replace=False).tolist()]
        overlap, belong, found = _compared(addresses[1], asked, writer.added)
    answers = [*quiet, *busy]
    report: dict[str, Any] = {
        "changes": writer.changes, "changes_per_second": writer.changes / writer.seconds, "added": len(writer.added),
        "answers": len(answers),
        "leaked": sum(writer.hidden(ad, as_of) for _, as_of, ads in answers for ad in ads),
        "overlap": overlap, "belong": belong, "found": found / belong if belong else None}
    for name, times in (("acknowledged", writer.acknowledged), ("visible", writer.visible),
                        ("quiet", [one[0] for one in quiet]), ("busy", [one[0] for one in busy])):
        p50, p99 = np.percentile(times, (50, 99)) * 1e3
        report |= {f"{name}_p50_ms": float(p50), f"{name}_p99_ms": float(p99)}
    return report


def in_words(report: dict[str, Any]) -> str:
    """The report as a list."""
    times = {name: f"p50 {report[f'{name}_p50_ms']:.1f} ms, p99 {report[f'{name}_p99_ms']:.1f} ms"
             for name in ("acknowledged", "visible", "quiet", "busy")}
    found = "none belongs there" if report["found"] is None else f"{report['found']:.3f} of {report['belong']:,}"
    return "\n".join([
        f"{report['changes']:,} changes, {report['changes_per_second']:,.0f} a second; {report['added']:,} new ads",
        f"acknowledged: {times['acknowledged']}", f"applied by every worker of both: {times['visible']}",
        f"answers while quiet: {times['quiet']}", f"answers beside the writes: {times['busy']}",
        f"hidden ads in {report['answers']:,} answers: {report['leaked']:,}",
        f"overlap with exhaustive answers afterwards: {report['overlap']:.4f}",
        f"new ads in exhaustive answers that were returned: {found}"])


class _Writer:
    """Writes changes to the first service, and remembers what they make of each ad.

    Args:
        opened: the bundle.
        addresses: of both services.
        random: draws the changes.

    Attributes:
        changes: number of changes that were acknowledged.
        added: ids of new ads.
        acknowledged: seconds of each call.
        visible: seconds until every worker had applied a call, of as many as could be watched one after the other.
        seconds: that the writes took in all.
        failure: what ended the writes early, if anything did.
    """

    def __init__(self, opened: Bundle, addresses: list[tuple[str, int]], random: np.random.Generator) -> None:
        self._content, self._addresses, self._random = opened.content, addresses, random
        self._state: dict[str, tuple[bool, bool]] = {}  # ad -> active, has an audience
        self._history: dict[str, tuple[list[int], list[bool]]] = defaultdict(lambda: ([], []))
        self.changes, self.added = 0, set[str]()
        self.acknowledged: list[float] = []
        self.visible: list[float] = []
        self.failure: Exception | None = None
        self.seconds = 0.0
        self._newest = 0.0, 0, ""

    def hidden(self, ad: str, as_of: int) -> bool:
        """Whether an ad must not be in an answer as of a change."""
        sequences, shown = self._history[ad]
        last = bisect_right(sequences, as_of) - 1
        return last >= 0 and not shown[last]

    def write(self, rate: int, seconds: float) -> None:
        """Writes at a rate for a time, in equal batches, as fast as they are acknowledged."""
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended,))
        watch.start()
        try:
            with ExitStack() as stack:
                connection, start = _connect(stack, self._addresses[0]), time.perf_counter()
                for number in range(int(BATCHES * seconds)):
                    time.sleep(max(0.0, start + number / BATCHES - time.perf_counter()))
                    self._batch(connection, [self._change() for _ in range(max(1, rate // BATCHES))])
                self.seconds = time.perf_counter() - start
        except Exception as error:
            self.failure = error
        ended.set()
        watch.join()

    def _batch(self, connection: HTTPConnection, changes: list[tuple[dict[str, Any], tuple[bool, bool]]]) -> None:
        body = "\n".join(json.dumps(line) for line, _ in changes)
        start = time.perf_counter()
        reply = call(connection, "POST", "/ads:batch", body, "application/x-ndjson")
        self.acknowledged.append(time.perf_counter() - start)
        for (line, state), version in zip(changes, reply["versions"], strict=True):
            sequences, shown = self._history[line["ad_id"]]
            sequences.append(version)
            shown.append(all(state))
        self.changes += len(changes)
        self._newest = start, reply["versions"][-1], changes[-1][0]["ad_id"]

    def _watch(self, ended: threading.Event) -> None:
        """Times how long the newest call takes to be applied, then that of the newest one by then, and so on."""
        try:
            with ExitStack() as stack:
                connections = [_connect(stack, address) for address in self._addresses]
                seen = 0
                while not ended.is_set() or self._newest[1] > seen:
                    start, seen, ad_id = self._newest
                    if not seen:
                        time.sleep(_LOOK_SECONDS)
                        continue
                    for connection in connections:
                        while not all(worker["as_of"] >= seen
                                      for worker in call(connection, "GET", f"/ads/{ad_id}")["workers"]):
                            if time.perf_counter() - start > _PATIENCE_SECONDS:
                                raise TimeoutError(f"change {seen} was not applied everywhere within "
                                                   f"{_PATIENCE_SECONDS:g} s")
                            time.sleep(_LOOK_SECONDS)
                    self.visible.append(time.perf_counter() - start)
                    while self._newest[1] == seen and not ended.wait(_LOOK_SECONDS):
                        pass
        except Exception as error:
            self.failure = error

    def _change(self) -> tuple[dict[str, Any], tuple[bool, bool]]:
        """A line of a batch, and whether its ad is active and has an audience after it."""
        row, kind = int(self._random.integers(self._content.tree.n_items)), self._random.random()
        if kind >= RETARGETED:
            ad_id = f"new-{len(self.added)}"
            self.added.add(ad_id)
            self._state[ad_id] = True, True
            return {"op": "put", "ad_id": ad_id, "features": raw_features(self._content, row)}, (True, True)
        ad_id = self._content.encoder.item_ids[row].decode()
        active, audience = self._state.get(ad_id, (True, True))
        line: dict[str, Any] = {"op": "patch", "ad_id": ad_id}
        if kind < PAUSED:
            active = not active
            line["status"] = "active" if active else "paused"
        else:
            audience = not audience
            line["targeting"] = None if audience else NOBODY
        self._state[ad_id] = active, audience
        return line, (active, audience)


class _Readers:
    """Asks both services for the ads of users, at a constant rate.

    Args:
        addresses: of both.
        users: to ask as.
        rate: answers a second.
        seed: of the users.
    """

    def __init__(self, addresses: list[tuple[str, int]], users: list[str], rate: float, seed: int) -> None:
        self._addresses, self._users, self._rate, self._seed = addresses * _THREADS, users, rate, seed

    def ask(self, seconds: float, description: str) -> list[tuple[float, int, list[str]]]:
        """For each answer the seconds that it took, its last change and its ads."""
        answers: list[tuple[float, int, list[str]]] = []
        failures: list[Exception] = []
        with tqdm(total=int(self._rate * seconds), desc=description, unit="answer") as bar:
            def ask_one(number: int) -> None:
                random = np.random.default_rng([self._seed, number])
                pause = len(self._addresses) / self._rate
                try:
                    with ExitStack() as stack:
                        connection = _connect(stack, self._addresses[number])
                        start = time.perf_counter() + number / self._rate
                        for turn in range(int(seconds / pause)):
                            time.sleep(max(0.0, start + turn * pause - time.perf_counter()))
                            answers.append(_asked(connection, self._users[random.integers(len(self._users))]))
                            bar.update()
                except Exception as error:
                    failures.append(error)

            threads = [threading.Thread(target=ask_one, args=(number,)) for number in range(len(self._addresses))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        return answers


def _compared(address: tuple[str, int], users: list[str], added: set[str]) -> tuple[float, int, int]:
    """Mean overlap of the beam's answers with exhaustive ones; added ads in the latter, and of these in the former."""
    overlaps, belong, found = [], 0, 0
    with ExitStack() as stack:
        connection = _connect(stack, address)
        for user in tqdm(users, desc="compared", unit="user"):
            beam, truth = (set(_asked(connection, user, exact=exact)[2]) for exact in (False, True))
            overlaps.append(len(beam & truth) / len(truth) if truth else 1.0)
            belong += len(truth & added)
            found += len(truth & added & beam)
    return float(np.mean(overlaps)), belong, found


def _asked(connection: HTTPConnection, user: str, exact: bool = False) -> tuple[float, int, list[str]]:
    start = time.perf_counter()
    answer = call(connection, "POST", "/retrieve", json.dumps({"user_id": user, "exact": exact}))
    return time.perf_counter() - start, answer["as_of"], [ad["ad_id"] for ad in answer["ads"]]


def _connect(stack: ExitStack, address: tuple[str, int]) -> HTTPConnection:
    connection = HTTPConnection(*address, timeout=_PATIENCE_SECONDS)
    stack.callback(connection.close)
    return connection
