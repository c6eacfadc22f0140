"""`python -m loadtest clicks`: from a click in one replica to a changed answer in another.

    python -m loadtest clicks --bundle bundles/synthetic

Two services follow one new change log. Each click is that of a user whom nobody knows, on an ad drawn at random. It is
sent to the first service; the second is asked for the user's ads, over and over, until the answer differs from the one
before the click. `written` is the time until the first service acknowledges the click, `seen` the time until the second
has given a whole changed answer, both from before the click is sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from loadtest.processes.replicas import call, two_replicas
from model.progress.bars import Bar

WARM_UP = 5
PATIENCE_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that both services serve")
    parser.add_argument("--clicks", type=int, default=300, help="clicks to time, one at a time (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each service (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the ads (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a sentence, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used, 2 a click unseen."""
    try:
        report = clicks(args.bundle, number=args.clicks, workers=args.workers, seed=args.seed)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(in_words(report))
    print(json.dumps(report, allow_nan=False))
    return 0 if not report["unseen"] else 2


def clicks(folder: Path, *, number: int, workers: int, seed: int) -> dict[str, Any]:
    """Starts two services, and times clicks.

    Returns:
        `clicks`; `unseen`: of them, those that changed no answer within ten seconds; and of the others
        `written_p50_ms`, `written_p99_ms`, `seen_p50_ms`, `seen_p99_ms` and `seen_max_ms`.

    Raises:
        BundleError: the bundle cannot be opened.
    """
    ads = Bundle.open(folder).content.encoder.item_ids
    drawn = ads[np.random.default_rng(seed).integers(len(ads), size=WARM_UP + number)].tolist()
    with two_replicas(folder, workers) as addresses:
        writer, reader = (HTTPConnection(*address, timeout=PATIENCE_SECONDS) for address in addresses)
        times = [_timed(writer, reader, f"click-{at}", ad.decode()) for at, ad in enumerate(Bar(drawn, unit="click"))]
        for connection in (writer, reader):
            connection.close()
    seen = np.array([one for one in times[WARM_UP:] if one is not None]).reshape(-1, 2) * 1e3
    report: dict[str, Any] = {"clicks": number, "unseen": number - len(seen)}
    if len(seen):
        report |= {f"{name}_p{share}_ms": float(np.percentile(seen[:, column], share))
                   for column, name in enumerate(("written", "seen")) for share in (50, 99)}
        report["seen_max_ms"] = float(seen[:, 1].max())
    return report


def in_words(report: dict[str, Any]) -> str:
    """The report as a sentence."""
    if report["unseen"] == report["clicks"]:
        return f"None of {report['clicks']:,} clicks changed an answer of the other service."
    return (f"{report['clicks']:,} clicks, {report['unseen']} unseen. Written: p50 {report['written_p50_ms']:.1f} ms, "
            f"p99 {report['written_p99_ms']:.1f} ms. Changed answer of the other service: p50 "
            f"{report['seen_p50_ms']:.1f} ms, p99 {report['seen_p99_ms']:.1f} ms, max {report['seen_max_ms']:.1f} ms.")


def _timed(writer: HTTPConnection, reader: HTTPConnection, user_id: str, ad_id: str) -> tuple[float, float] | None:
    """Seconds until one click was acknowledged and until it was seen; None if it was not."""
    before = _ads(reader, user_id)
    event = {"user_id": user_id, "ad_id": ad_id, "type": "click"}
    start = time.perf_counter()
    call(writer, "POST", "/events", json.dumps(event), "application/x-ndjson")
    written = time.perf_counter() - start
    while time.perf_counter() - start < PATIENCE_SECONDS:
        if _ads(reader, user_id) != before:
            return written, time.perf_counter() - start
    return None


def _ads(connection: HTTPConnection, user_id: str) -> Any:
    return call(connection, "POST", "/retrieve", json.dumps({"user_id": user_id}))["ads"]
