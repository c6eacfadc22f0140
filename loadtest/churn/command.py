"""`python -m loadtest churn`: ads and users change while two replicas answer.

    python -m loadtest churn --bundle bundles/synthetic --runbook mixed
    python -m loadtest churn --bundle bundles/synthetic --runbook my_runbook.json --rate 200

Two services follow one new change log, and a runbook is played: in each of its steps, changes of several kinds reach
the first service at a rate, while both are asked for ads at a constant rate. Each answer names the last change that it
takes into account; it is compared with what the acknowledged writes had made of its ads by then, and must not be older
than what every worker was seen to have applied when it was asked for. After a step answers of the beam may be compared
with exhaustive ones over the ads of that moment. docs/benchmarks.md has the runbooks and what is reported.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from loadtest.bench.report import table
from loadtest.churn.catalogue import Catalogue
from loadtest.churn.readers import Answered, Readers, compared
from loadtest.churn.runbook import RUNBOOKS, RunbookError, Step, read_runbook
from loadtest.churn.writer import Writer, Written
from loadtest.processes.replicas import two_replicas
from model.data.tables import DataError
from model.progress.bars import Bar

_BAR_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that both services serve; it needs users")
    parser.add_argument("--runbook", default="mixed", help=f"{', '.join(RUNBOOKS)}, or a JSON file (default mixed)")
    parser.add_argument("--rate", type=int, default=1_000, help="changes a second (default %(default)s)")
    parser.add_argument("--reads", type=float, default=40.0, help="answers a second of both (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each service (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users and changes (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object.

    Exit status: 0 fine, 1 bundle or runbook cannot be used, 2 an answer had a hidden ad or was too old.
    """
    try:
        if args.rate < 1 or not args.reads > 0 or args.workers < 1:
            raise RunbookError(f"--rate is {args.rate}, --reads {args.reads:g}, --workers {args.workers}; each has to "
                               "be above 0")
        report = churn(args.bundle, read_runbook(args.runbook), rate=args.rate, reads=args.reads,
                       workers=args.workers, seed=args.seed)
    except (BundleError, DataError, RunbookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 2 if any(row["leaked"] or row["stale"] for row in report["steps"]) else 0


def churn(folder: Path, runbook: Sequence[Step], *, rate: int, reads: float, workers: int, seed: int) -> dict[str, Any]:
    """Starts two services and plays a runbook.

    Returns:
        `ads` of the bundle; `steps`, a row for each with `step`, `changes` and `changes_per_second`;
        `acknowledged_*` and `visible_*`: milliseconds until a call was durable, and until every worker of both services
        had applied it; `answers`, `answer_*` milliseconds, `leaked`, appearances of hidden ads in them, and `stale`,
        answers older than they may be; `overlap`, and `found` of the `belong` added ads in exhaustive answers. What a
        step does not measure is null.

    Raises:
        BundleError: the bundle cannot be opened.
        DataError: it has no users.
    """
    opened = Bundle.open(folder)
    ids = opened.content.users.ids
    if not len(ids):
        raise DataError(f"bundle {opened.bundle_id} has no users to ask as; export a run that has users")
    random = np.random.default_rng(seed)
    catalogue, users = Catalogue(opened.content, random), [user.decode() for user in ids.tolist()]
    asked = [users[row] for row in random.permutation(len(users))]  # the same ones each time, so that steps compare
    rows = []
    with two_replicas(folder, workers) as addresses:
        writer = Writer(catalogue, addresses, opened.content.encoder.item_ids[0].decode())
        for number, step in enumerate(runbook):
            pace = step.rate or rate
            kinds = step.kinds(pace, opened.content.tree.n_items, random)
            with Readers(addresses, users, reads, seed + number) as readers:
                written = writer.write(kinds, pace, step.name) if kinds else Written()
                if not kinds:
                    _wait(step)
            rows.append(_row(step, catalogue, writer, written, readers.answers))
            if step.compare:
                overlap, belong, found = compared(addresses[1], asked[:step.compare], set(catalogue.added))
                rows[-1] |= {"overlap": overlap, "belong": belong, "found": found / belong if belong else None}
    return {"ads": opened.content.tree.n_items, "steps": rows}


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table; times are p50 / p99 in milliseconds."""
    def times(row: dict[str, Any], name: str) -> str:
        return "-" if row[f"{name}_p50_ms"] is None else f"{row[f'{name}_p50_ms']:.1f} / {row[f'{name}_p99_ms']:.1f}"

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    def found(row: dict[str, Any]) -> str:
        return f"{share(row['found'])} of {row['belong']:,}" if row["belong"] else "-"

    rows = [(row["step"], f"{row['changes']:,}",
             "-" if row["changes_per_second"] is None else f"{row['changes_per_second']:,.0f}",
             times(row, "acknowledged"), times(row, "visible"), f"{row['answers']:,}", times(row, "answer"),
             f"{row['leaked']} / {row['stale']}", share(row["overlap"]), found(row)) for row in report["steps"]]
    return f"{report['ads']:,} ads.\n\n" + table(
        ("step", "changes", "a second", "acknowledged", "visible", "answers", "answer", "leaked / stale", "overlap",
         "new ads found"), rows)


def _wait(step: Step) -> None:
    for _ in Bar(range(round(step.seconds / _BAR_SECONDS)), desc=step.name, bar_format="{l_bar}{bar}"):
        time.sleep(_BAR_SECONDS)


def _row(step: Step, catalogue: Catalogue, writer: Writer, written: Written,
         answers: Sequence[Answered]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "step": step.name, "changes": written.changes,
        "changes_per_second": written.changes / written.seconds if written.changes else None,
        "answers": len(answers), "leaked": sum(catalogue.hidden(ad, one.as_of) for one in answers for ad in one.ads),
        "stale": sum(one.as_of < _applied(writer, one.asked_at) for one in answers),
        "overlap": None, "belong": None, "found": None}
    for name, times in (("acknowledged", written.acknowledged), ("visible", written.lags),
                        ("answer", [one.seconds for one in answers])):
        for percent in (50, 99):
            row[f"{name}_p{percent}_ms"] = float(np.percentile(times, percent)) * 1e3 if times else None
    return row


def _applied(writer: Writer, at: float) -> int:
    """The last change that every worker was seen to have applied by a time; 0 for none."""
    before = bisect_left(writer.visible, (at, 0))
    return writer.visible[before - 1][1] if before else 0
