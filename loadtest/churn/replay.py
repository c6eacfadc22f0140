"""`python -m loadtest replay`: what a worker takes to catch up with a change log, and what the changes hold of memory.

    python -m loadtest replay --bundle bundles/synthetic --changes 1000000

Writes a log of changes with the mix of `churn`: 70 % pause an ad or resume one, 20 % take an ad's audience away or give
it back, 10 % add an ad with the features of another one. Then it replays it over the bundle as a worker does when it
starts.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from pydantic import SecretStr

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import ChangeLog, Kind, Write
from index_store.live.snapshot import Snapshot
from loadtest.churn.catalogue import Catalogue
from loadtest.churn.runbook import MIX
from model.data.tables import DataError
from model.progress.bars import Bar
from service.live.follower import Follower
from service.live.log_place import LogPlace
from service.live.shared_log import SharedLog
from service.retrieval.retriever import Retriever

_BATCH = 1_000
"""Changes that are written at once."""


class _Replayed:
    """What the follower brings up to date."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle with users")
    parser.add_argument("--changes", type=int, default=100_000, help="in the log (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the changes (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a sentence, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used."""
    try:
        report = replay(args.bundle, args.changes, args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{report['changes']:,} changes of {report['changed']:,} ads, {report['added']:,} of them new, were replayed "
          f"in {report['seconds']:.1f} s ({report['changes'] / report['seconds']:,.0f} a second); they hold "
          f"{report['bytes'] / 2**20:.1f} MiB, {report['bytes'] / report['changed']:,.0f} bytes an ad.")
    print(json.dumps(report, allow_nan=False))
    return 0


def replay(folder: Path, changes: int, seed: int) -> dict[str, Any]:
    """Writes a log and replays it.

    Returns:
        `ads` of the bundle, `changes` in the log, ads `changed` by them, and `added`; `seconds` of the replay, without
        what prepares the placement of new ads; `bytes`, by which it grew the memory of this process alone.

    Raises:
        BundleError: the bundle cannot be opened.
        DataError: it has no users.
    """
    opened = Bundle.open(folder)
    if not len(opened.content.users.ids):
        raise DataError(f"bundle {opened.bundle_id} has no users, by which new ads are placed; export a run that has "
                        "users")
    random = np.random.default_rng(seed)
    catalogue, retriever = Catalogue(opened.content, random), Retriever(opened)
    try:
        with TemporaryDirectory() as place:
            shared = SharedLog(LogPlace(SecretStr(f"{place}/changes.sqlite3")))
            changed = _write(shared.opened(), catalogue, random.choice([*MIX], changes, p=[*MIX.values()]).tolist())
            retriever.sealed.arrivals.prepare()
            before, replayed, follower = _private_bytes(), _Replayed(retriever.sealed), Follower(shared)
            start = time.perf_counter()
            follower.add(replayed)
            seconds = time.perf_counter() - start
            follower.close()
            shared.close()
        return {"ads": opened.content.tree.n_items, "changes": replayed.snapshot.as_of, "changed": changed,
                "added": len(catalogue.added), "seconds": seconds, "bytes": _private_bytes() - before}
    finally:
        retriever.close()


def _write(log: ChangeLog, catalogue: Catalogue, kinds: Sequence[str]) -> int:
    """Writes a change of each kind; the number of ads that they change."""
    changed: set[str] = set()
    with Bar(total=len(kinds), desc="log", unit="change") as bar:
        for first in range(0, len(kinds), _BATCH):
            lines = [catalogue.draw(kind).line for kind in kinds[first:first + _BATCH]]
            log.append([Write(kind=Kind.AD, id=line["ad_id"], fields={
                name: value for name, value in line.items() if name not in ("op", "ad_id")}) for line in lines])
            changed.update(line["ad_id"] for line in lines)
            bar.update(len(lines))
    return len(changed)


def _private_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)
