"""`python -m loadtest capacity`: memory, shards and latency of a search for more ads than were measured.

    python -m loadtest grow --out growth --sizes 1000000,10000000
    python -m index_store shard growth/10000000_ads/bundle --shards 4 --out roots/10m          (and of 1000000_ads)
    python -m loadtest sharded --bundle growth/10000000_ads/bundle --root roots/10m --out sharded/10m
    python -m loadtest capacity --growth growth/grow.json --sharded sharded/1m/sharded.json sharded/10m/sharded.json

Draws every line through measured points, says which, and prints what it gives for each number of ads. Nothing is
assumed but that the lines go on; docs/capacity.md says where that is doubtful.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any

from loadtest.bench.pareto import OVERLAP, P50, PAIRS, TARGET, cost_at
from loadtest.bench.report import table

GIB = 1 << 30
ADS = (10_000_000, 100_000_000, 1_000_000_000)


class CapacityError(Exception):
    """The reports do not suffice; the message says what is missing."""


@dataclass(frozen=True)
class Line:
    """value = at_none + slope * x, through measured points."""

    at_none: float
    slope: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line:
        """The line of least squares."""
        slope, at_none = linear_regression(*zip(*points, strict=True))
        return cls(at_none, slope)

    def at(self, x: float) -> float:
        return self.at_none + self.slope * x


@dataclass(frozen=True)
class Slopes:
    """What was measured, as functions of the number of ads.

    Attributes:
        root_bytes, shard_bytes: of the files of the root, and of all shards together.
        pairs, at_ads: pairs at overlap 0.95 for the largest measured number of ads.
        pairs_exponent: pairs grow as ads to this power, from the second largest number to the largest.
        p50_ms: of a search in one process, by its pairs.
        added_ms: by root and shards, to the p50 of a search.
        sources: a sentence for each.
    """

    root_bytes: Line
    shard_bytes: Line
    pairs: float
    at_ads: int
    pairs_exponent: float
    p50_ms: Line
    added_ms: float
    sources: tuple[str, ...]

    def pairs_at(self, ads: int) -> float:
        return self.pairs * math.pow(ads / self.at_ads, self.pairs_exponent)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--growth", type=Path, required=True, help="grow.json of two sizes or more")
    parser.add_argument("--sharded", type=Path, required=True, nargs="+",
                        help="sharded.json of two sizes or more, as `loadtest sharded` writes them")
    parser.add_argument("--ads", type=_numbers, default=ADS, metavar="ADS,ADS",
                        help=f"numbers of ads (default: {','.join(map(str, ADS))})")
    parser.add_argument("--memory", type=_gib, default=16.0, metavar="GIB",
                        help="memory that a machine has for a shard's files (default %(default)g GiB)")
    parser.add_argument("--out", type=Path, help="folder for capacity.json and capacity.md (default: not written)")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, such as 10000000,100000000") from None
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{min(numbers)} is not a number of ads; give numbers of at least 1")
    return numbers


def _gib(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} GiB hold nothing; give more than 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Prints a table and its sources, then one JSON object. Exit status: 0 fine, 1 a report is missing or too small."""
    try:
        growth, sharded = _read(args.growth, "sizes"), [_read(path, "shard_bytes") for path in args.sharded]
        slopes = measured(growth, sharded)
        rows = [plan(slopes, ads, args.memory) for ads in args.ads]
    except CapacityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text, report = markdown(rows, slopes, args.memory), {"slopes": asdict(slopes), "plans": rows}
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "capacity.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        (args.out / "capacity.md").write_text(text + "\n")
    print(text)
    print(json.dumps(report, allow_nan=False))
    return 0


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CapacityError(f"{path} cannot be read ({error}); give the file that the command wrote") from error
    if not isinstance(found, dict) or key not in found:
        raise CapacityError(f"{path} has no `{key}`, so another command wrote it; --growth takes grow.json, --sharded "
                            "takes sharded.json")
    return found


def measured(growth: Mapping[str, Any], sharded: Sequence[Mapping[str, Any]]) -> Slopes:
    """Draws the lines.

    Args:
        growth: the report of `loadtest grow`.
        sharded: reports of `loadtest sharded`.

    Raises:
        CapacityError: there are not two sizes of either, or no beam reached overlap 0.95.
    """
    sizes, sharded = sorted(growth["sizes"], key=lambda size: size["ads"]), sorted(sharded, key=lambda one: one["ads"])
    for what, found in (("grow.json", sizes), ("sharded.json", sharded)):
        if len({one["ads"] for one in found}) < 2:
            raise CapacityError(f"{what} is of one size; a slope needs two: measure another")
    few, many = sizes[-2:]
    low, high = (cost_at(size["bench"]["beam"], TARGET, PAIRS) for size in (few, many))
    if low is None or high is None:
        raise CapacityError(f"no beam of {few['ads']:,} or {many['ads']:,} ads reached overlap {TARGET}, so the "
                            "growth of pairs is unknown; measure wider beams")
    exponent = math.log(high / low) / math.log(many["ads"] / few["ads"])
    beams = [row for row in many["bench"]["beam"] if row[OVERLAP] >= 0.9]
    if len({row[PAIRS] for row in beams}) < 2:
        raise CapacityError(f"fewer than two beams of {many['ads']:,} ads reached overlap 0.9, so the time per pair is "
                            "unknown; measure wider beams")
    p50 = Line.through([(row[PAIRS], row[P50]) for row in beams])
    root = Line.through([(one["ads"], one["root_bytes"]) for one in sharded])
    shards = Line.through([(one["ads"], sum(one["shard_bytes"])) for one in sharded])
    last = sharded[-1]
    between = f"{sharded[0]['ads']:,} and {last['ads']:,} ads"
    return Slopes(root, shards, high, many["ads"], exponent, p50, last["added_p50_ms"], (
        f"root: {root.slope:.0f} bytes an ad, and {root.at_none / 1e6:,.0f} MB, between {between}",
        f"shards: {shards.slope:.0f} bytes an ad between {between}; a process has "
        f"{max(last['shard_private_bytes']) / 2**20:.0f} MiB of its own",
        f"pairs at overlap {TARGET}: {low:,.0f} for {few['ads']:,} ads and {high:,.0f} for {many['ads']:,}, so as ads "
        f"to the power of {exponent:.2f}",
        f"p50: {p50.at_none:.2f} ms and {p50.slope * 1e3:.2f} µs a pair, over {len(beams)} beams of "
        f"{many['ads']:,} ads",
        f"root and shards add {last['added_p50_ms']:.2f} ms with {last['shards']} shards of {last['ads']:,} ads in "
        "all, on one machine"))


def plan(slopes: Slopes, ads: int, memory: float) -> dict[str, Any]:
    """What a number of ads takes.

    Args:
        slopes: measured.
        ads: how many.
        memory: GiB that a machine has for a shard's files.

    Returns:
        `ads`, `shards`, `root_gib`, `shard_gib` (of each), `pairs`, `p50_ms`: of a search by root and shards on one
        machine, from an encoded user to the ads.
    """
    pairs, shards_gib = slopes.pairs_at(ads), slopes.shard_bytes.at(ads) / GIB
    shards = math.ceil(shards_gib / memory)
    return {"ads": ads, "shards": shards, "root_gib": slopes.root_bytes.at(ads) / GIB,
            "shard_gib": shards_gib / shards, "pairs": pairs, "p50_ms": slopes.p50_ms.at(pairs) + slopes.added_ms}


def markdown(rows: Sequence[Mapping[str, Any]], slopes: Slopes, memory: float) -> str:
    """The plans as a Markdown table, with the lines that they follow from."""
    cells = [(f"{row['ads']:,}", str(row["shards"]), f"{row['root_gib']:,.1f}", f"{row['shard_gib']:,.1f}",
              f"{row['pairs']:,.0f}", f"{row['p50_ms']:.1f}") for row in rows]
    header = ("ads", f"shards of {memory:g} GiB", "root, GiB", "a shard, GiB", "pairs", "p50, ms")
    return "\n".join([table(header, cells), "",
                      "p50 is that of a search by root and shards on one machine, without HTTP and the user tower.",
                      "",
                      "Each line is drawn through what was measured:", "",
                      *(f"- {source}" for source in slopes.sources)])
