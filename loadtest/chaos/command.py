"""`python -m loadtest chaos`: injects faults under load, one scenario at a time, and checks each guarantee.

    python -m loadtest chaos --out build/chaos
    python -m loadtest chaos --out build/chaos --only redis,swaps --bundle A --other B --rate 50 --seconds 15

Without --bundle and --other, two small synthetic worlds are trained first and kept in the folder. Prints a table, then
one JSON object on the last line; both are also written to chaos.md and chaos.json, or to files named after the scenario
if only one runs. docs/reliability.md has the guarantees and the results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from index_store.bundle.manifest import BundleError
from loadtest.chaos.answers import SameAnswersError
from loadtest.chaos.report import markdown
from loadtest.chaos.result import Result
from loadtest.chaos.scenarios import DEFAULT, SCENARIOS, Scenario
from loadtest.chaos.swaps import SwapError
from loadtest.chaos.testbed import FULL, Testbed
from loadtest.demo.steps import SYNTHETIC, DemoError, WorldSize, make_bundle
from loadtest.http.fuzz import FuzzError
from loadtest.processes.children import Children
from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.redis_server import RedisStartError

_WORLD = WorldSize(ads=5_000, users=20_000, events=400_000, epochs=1, quality_users=100)
_SEEDS = (1, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--out", type=Path, required=True, help="folder for worlds, logs and the report")
    parser.add_argument("--bundle", type=Path, help="bundle to serve (default: one is trained)")
    parser.add_argument("--other", type=Path, help="bundle with the same users to swap with (default: one is trained)")
    parser.add_argument("--only", type=_names, default=_names(",".join(DEFAULT)), metavar="NAME,…",
                        help=f"scenarios to run, of {', '.join(SCENARIOS)} (default: {','.join(DEFAULT)})")
    parser.add_argument("--rate", type=float, default=FULL.rate,
                        help="requests per second (default %(default)g)")
    parser.add_argument("--seconds", type=float, default=FULL.seconds,
                        help="seconds of each phase (default %(default)g)")


def _names(text: str) -> Mapping[str, Scenario]:
    try:
        return {name: SCENARIOS[name] for name in text.split(",")}
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"{error.args[0]!r} is not a scenario; choose from "
                                         + ", ".join(SCENARIOS)) from None


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 every guarantee held, 1 one was broken or a scenario could not run, 130 interrupted."""
    try:
        results = list(_results(args))
    except (BundleError, DemoError, FuzzError, ProcessEndedError, RedisStartError, SameAnswersError, SwapError,
            TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    report = {"rate": args.rate, "seconds": args.seconds, "scenarios": [asdict(result) for result in results]}
    text = markdown(results)
    name = "chaos" if len(args.only) > 1 else next(iter(args.only))
    (args.out / f"{name}.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (args.out / f"{name}.md").write_text(text)
    print(text)
    print(json.dumps(report, allow_nan=False))
    return 1 if any(result.problems for result in results) else 0


def _results(args: argparse.Namespace) -> Iterable[Result]:
    if (args.bundle is None) != (args.other is None):
        raise DemoError("--bundle and --other belong together; give both, or neither to train two small worlds")
    scale = replace(FULL, rate=args.rate, seconds=args.seconds)
    args.out.mkdir(parents=True, exist_ok=True)
    with Children() as children:
        first, second = (args.bundle, args.other) if args.bundle else [
            make_bundle(children, _created(args.out / f"world_{seed}"), SYNTHETIC, replace(_WORLD, seed=seed))
            for seed in _SEEDS]
        for name, scenario in args.only.items():
            folder = args.out / name
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{name} …", file=sys.stderr, flush=True)
            for result in scenario(Testbed(first, second, _created(folder), children, scale)):
                print(f"{result.scenario}: {'; '.join(result.problems) or 'all guarantees held'}", file=sys.stderr,
                      flush=True)
                yield result


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
