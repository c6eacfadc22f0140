"""`python -m loadtest grow`: how costs grow with ten and a hundred times more ads, from training to the search.

    python -m loadtest grow --out growth --sizes 10000,100000
    python -m loadtest grow --out growth --sizes 10000000

For each size, makes a synthetic world, a model with its tree, two towers trained the same way and both bundles, then
measures opening and bench, each with the command that a user would type. Finished parts are kept: run it again to
continue. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadtest.bench.pareto import P50, PAIRS, TARGET, cost_at
from loadtest.bench.report import BENCH, KINDS
from loadtest.demo.steps import SYNTHETIC, DemoError, StepCost, WorldSize, make_bundle, run_step
from loadtest.growth.opening import OPENING
from loadtest.growth.report import markdown, write
from loadtest.processes.children import Children


@dataclass(frozen=True)
class Stage:
    """One size: the world and its training, and the bench.

    Attributes:
        world: of so many ads.
        users, queries: of the bench, for quality and to time.
        baselines: whether the bench compares the beam with HNSW, IVF and a walked graph. At ten million ads the two
            towers would take as long as all other steps, and the indexes hours more.
    """

    world: WorldSize
    users: int
    queries: int
    baselines: bool = True


STAGES = (
    Stage(WorldSize(10_000, 50_000, 1_000_000, epochs=2, seed=1), users=500, queries=200),
    Stage(WorldSize(100_000, 100_000, 2_000_000, epochs=2, seed=1), users=300, queries=150),
    Stage(WorldSize(1_000_000, 200_000, 4_000_000, epochs=1, batch_users=2048, quality_users=50, seed=1), users=100,
          queries=60),
    Stage(WorldSize(10_000_000, 400_000, 8_000_000, epochs=1, batch_users=2048, quality_users=50, seed=1), users=50,
          queries=40, baselines=False),
)
"""Seed 1, because settings were tuned on seed 0, the world of the demo."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the worlds, the bundles and the report")
    usual = STAGES[:-1]
    parser.add_argument("--sizes", type=_stages, default=usual, metavar="ADS,ADS",
                        help="numbers of ads, of " + ", ".join(str(stage.world.ads) for stage in STAGES) +
                             "; the last takes an hour and a half and 16 GiB, and has no baselines (default: " +
                             ",".join(str(stage.world.ads) for stage in usual) + ")")


def _stages(text: str) -> tuple[Stage, ...]:
    known = {str(stage.world.ads): stage for stage in STAGES}
    try:
        return tuple(known[part] for part in text.split(","))
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"there are no settings for {error.args[0]!r} ads; choose from "
                                         + ", ".join(known)) from None


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object on the last line. Exit status: 0 fine, 1 a step failed, 130 interrupted."""
    try:
        report = grow(args.out, args.sizes)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command continues with what is in {args.out}", file=sys.stderr)
        return 130
    write(report, args.out)
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def grow(out: Path, stages: Sequence[Stage]) -> dict[str, Any]:
    """Makes whatever is missing and collects the measurements.

    Returns:
        `sizes`: an entry per size with `ads`, `steps` (name -> command, seconds, peak_bytes), `opening` and `bench`;
        `growth`: an entry for each pair of consecutive sizes.

    Raises:
        DemoError: a step failed.
    """
    with Children() as children:
        sizes = [_grown(children, out / f"{stage.world.ads}_ads", stage) for stage in stages]
    return {"sizes": sizes, "growth": [_growth(smaller, larger) for smaller, larger in pairwise(sizes)]}


def _grown(children: Children, folder: Path, stage: Stage) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "steps.json"
    steps: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    made: list[str] = []

    def note(what: str, cost: StepCost) -> None:
        made.append(what)
        steps[what] = asdict(cost)
        kept.write_text(json.dumps(steps, indent=1, allow_nan=False) + "\n")

    bundles = []
    for over_arch in ("wukong", "dot") if stage.baselines else ("wukong",):
        if "data" in made:  # trained on an earlier world
            shutil.rmtree(folder / "run_dot", ignore_errors=True)
            shutil.rmtree(folder / "bundle_dot", ignore_errors=True)
        bundles.append(make_bundle(children, folder, SYNTHETIC, stage.world, over_arch=over_arch, note=note))
    bundle, *towers = map(str, bundles)
    measurements = {
        OPENING: ["opening", "--bundle", bundle, "--out", str(folder)],
        BENCH: ["bench", "--bundle", bundle, *(["--two-tower", *towers] if towers else ["--no-rivals"]), "--data",
                str(folder / "data"), "--users", str(stage.users), "--queries", str(stage.queries), "--out",
                str(folder)]}
    changed = bool(made)
    for result, arguments in measurements.items():
        if changed or not (folder / result).exists():
            note(arguments[0], run_step(children, f"{stage.world.ads} ads: {arguments[0]}",
                                        ["-m", "loadtest", *arguments]))
    return {"ads": stage.world.ads, "world": asdict(stage.world), "steps": steps,
            **{Path(name).stem: json.loads((folder / name).read_text()) for name in measurements}}


def _growth(smaller: Mapping[str, Any], larger: Mapping[str, Any]) -> dict[str, Any]:
    """Growth factors from one size to the next: ads, p50 and pairs of each kind of search at equal overlap."""
    few, many = smaller["bench"], larger["bench"]
    ratios: dict[str, Any] = {"from": smaller["ads"], "to": larger["ads"], "ads": larger["ads"] / smaller["ads"],
                              "exhaustive_p50_ms": many["exhaustive"][P50] / few["exhaustive"][P50]}
    for kind in KINDS:
        for cost in (P50, PAIRS):
            low, high = (cost_at(bench.get(kind, []), TARGET, cost) for bench in (few, many))
            ratios[f"{kind}_{cost}"] = high / low if low and high else None
    return ratios
