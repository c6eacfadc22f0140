"""`python -m loadtest opening`: time to open a bundle, and the private memory of a further worker.

    python -m loadtest opening --bundle bundles/mine --out opening

A parent process verifies every checksum once; workers memory-map the bundle and share its pages. Private memory is that
of the second worker while the first has the bundle open as well. Before it is measured, both answer the bundle's golden
requests, as a service does before it is ready, and some users with the default beam.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from index_store.bundle.bundle import Bundle, describe
from index_store.bundle.manifest import BundleError
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import first_task_weights
from loadtest.rivals.queries import encoded
from service.bundles.golden import replay
from service.retrieval.retriever import Retriever

OPENING = "opening.json"
WORKERS = 2
USERS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle to measure")
    parser.add_argument("--out", type=Path, help="folder for opening.json (default: not written)")


def run(args: argparse.Namespace) -> int:
    """Prints a sentence, then one JSON object. Exit status: 0 fine, 1 the bundle cannot be used."""
    try:
        report = opening(args.bundle)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / OPENING).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    print(in_words(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def opening(folder: Path) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `bundle_bytes`; `verify_seconds`: to open it with all checksums; `open_seconds`: without; `private_bytes`: of
        the second of two warm workers; `interpreter_bytes`: of the same before it opened the bundle; `private_share`:
        private bytes as a share of the bundle's size.

    Raises:
        BundleError: it cannot be opened.
    """
    start = time.perf_counter()
    opened = Bundle.open(folder)
    verified = time.perf_counter()
    Bundle.open(folder, verify=False)
    again = time.perf_counter()
    size = int(describe(opened.manifest)["total_bytes"])
    before, after = list(_memory_of_workers(folder))[-1]
    return {"bundle_bytes": size, "verify_seconds": verified - start, "open_seconds": again - verified,
            "private_bytes": after, "interpreter_bytes": before, "private_share": after / size}


def in_words(report: dict[str, Any]) -> str:
    """The report as a sentence."""
    mib = {name: report[name] / 2**20 for name in ("bundle_bytes", "private_bytes", "interpreter_bytes")}
    return (f"A bundle of {mib['bundle_bytes']:.0f} MiB opens in {report['verify_seconds']:.2f} s with all checksums, "
            f"in {report['open_seconds']:.2f} s without; a further worker has {mib['private_bytes']:.0f} MiB of "
            f"private memory after its warm-up, {report['private_share']:.1%} of the bundle, of which "
            f"{mib['interpreter_bytes']:.0f} MiB before it opened the bundle.")


def _memory_of_workers(folder: Path) -> Iterator[tuple[int, int]]:
    """Private bytes of each worker before its warm-up, and after that of all workers."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(WORKERS)]
    workers = [spawn.Process(target=_run_worker, args=(theirs, folder), daemon=True) for _, theirs in pipes]
    try:
        for worker, (_, theirs) in zip(workers, pipes, strict=True):
            worker.start()
            theirs.close()
        before = [_receive(ours, folder) for ours, _ in pipes]
        for ours, _ in pipes:
            _receive(ours, folder)  # warm
        for ours, _ in pipes:
            ours.send(None)
        after = [_receive(ours, folder) for ours, _ in pipes]
        yield from zip(before, after, strict=True)
    finally:
        for ours, _ in pipes:
            ours.close()  # ends a worker that waits for a message
        for worker in workers:
            worker.join()


def _receive(pipe: Connection, folder: Path) -> int:
    try:
        return int(pipe.recv())
    except EOFError:
        raise BundleError(folder, ".", "a worker ended while it warmed up; its output is above",
                          "run `python -m service BUNDLE --check`") from None


def _run_worker(pipe: Connection, folder: Path) -> None:
    pipe.send(_private())
    retriever = Retriever(Bundle.open(folder, verify=False))
    asyncio.run(_warm_up(retriever))
    pipe.send(0)
    pipe.recv()
    pipe.send(_private())
    pipe.close()


async def _warm_up(retriever: Retriever) -> None:
    async for _ in replay(retriever):
        pass
    opened = retriever.bundle
    beam, search = BeamSearch(opened.content.tree, retriever.scorer), opened.manifest.search
    weights = first_task_weights(len(opened.manifest.tasks))
    for row in np.random.default_rng(0).permutation(len(opened.content.users.ids))[:USERS]:
        beam.search(retriever.query(encoded(opened, row)), top_k=search.top_k, beam_width=search.beam_width,
                    task_weights=weights)


def _private() -> int:
    return int(psutil.Process().memory_full_info().uss)
