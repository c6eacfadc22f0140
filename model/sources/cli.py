"""`python -m model data SOURCE`: converts a source into a data folder, or proposes how to read any table as one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from index_store.declaration.nearest import suggestion
from index_store.declaration.values import FeatureError
from model.data.tables import SPEC, DataError
from model.sources import beibei, gowalla, parquet, snap_ads, synthetic, synthetic_days, taobao_ad

FROM_FOLDER = {"taobao-ad": taobao_ad.write, "gowalla": gowalla.write, "beibei": beibei.write, "parquet": parquet.write}

SOURCES = ("infer", *FROM_FOLDER, "snap-ads", "synthetic")

TURNOVER = 0.03
"""Share of the ads that end every day, where the world moves: in a month more than half."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("source", metavar="SOURCE", help=f"{', '.join(SOURCES)}: a guess how to read any table, a "
                        "public data set, your own log as Parquet with features.json, real targeting in a planted "
                        "world, or a planted world")
    parser.add_argument("log", nargs="?", metavar="LOG",
                        help="for infer: a CSV, Parquet, JSON or DuckDB file, a folder of them, or a query; for others "
                             "the folder that holds the source, like --source")
    parser.add_argument("--source", dest="folder", type=Path, help="folder that holds the source (not for synthetic)")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    roles = parser.add_argument_group("infer", "columns that are guessed unless they are named")
    roles.add_argument("--user-id", metavar="COLUMN", help="user ids, or none: requests then come with features alone")
    roles.add_argument("--ad-id", metavar="COLUMN", help="ids of what is to be retrieved")
    roles.add_argument("--time", metavar="COLUMN", help="times of the events, or none")
    roles.add_argument("--label", metavar="COLUMN", action="append", default=[],
                        help="0 or 1, or true and false; several by repeating the flag, the first one ranks")
    world = parser.add_argument_group("synthetic, snap-ads")
    world.add_argument("--ads", type=int, default=20_000, help="ads of the world (default %(default)s); not for "
                                                               "snap-ads, which has its own")
    world.add_argument("--users", type=int, default=50_000, help="users of the world (default %(default)s)")
    world.add_argument("--events", type=int, default=1_000_000, help="impressions (default %(default)s)")
    world.add_argument("--days", type=int, metavar="N",
                       help="a world that moves: the log before it and the windows of N days, each with a tenth of "
                            "--events (docs/data.md; by default nothing moves)")
    world.add_argument("--turnover", type=float, metavar="SHARE",
                       help="share of the ads that end every day, and of those that are born; needs --days (default "
                            f"{TURNOVER})")
    world.add_argument("--domains", type=int, metavar="K",
                       help="domains, such as surfaces or countries, that differ in what people like; each impression "
                            "is in one; needs --days")
    world.add_argument("--context", action="store_true",
                       help="a world in which hour and position of an impression matter; its log tells both")
    world.add_argument("--seed", type=int, default=0, help="seed of the world (default %(default)s)")


def _infer(args: argparse.Namespace) -> None:
    """Writes the log with a declaration that was guessed, and tells the reasons."""
    if args.log is None:
        raise DataError("infer needs the log: python -m model data infer LOG --out DIR")
    from model.data.proposed import REASONS, from_source  # loads DuckDB
    from model.infer.roles import Given

    if Path(args.log).resolve() == args.out.resolve():
        raise DataError(f"the log and --out are both {args.log}; name another folder to write")
    proposed = from_source(args.log, Given(user=args.user_id, ad=args.ad_id, time=args.time, labels=tuple(args.label)))
    proposed.save(args.out)
    print(proposed)
    print(f"\nThese are guesses: look at them ({args.out / REASONS} keeps them) and edit {args.out / SPEC}. Then:\n"
          f"  python -m model train --data {args.out} --out RUN")


def _unknown(source: str) -> DataError:
    """The error for a source that there is not."""
    if Path(source).exists() or source.lower() in ("csv", "tsv", "json", "duckdb", "pandas", "polars", "sql"):
        log = source if Path(source).exists() else "LOG"
        remedy = f"to read any table: python -m model data infer {log} --out DIR"
    else:
        remedy = f"{suggestion(source, SOURCES)}use one of {', '.join(SOURCES)}"
    return DataError(f"there is no source {source!r}; {remedy}")


def _write_world(args: argparse.Namespace) -> None:
    sizes = args.ads, args.users, args.events, args.seed
    if args.days is not None and args.context:
        raise DataError("--context and --days are given, but a world that moves has no context; leave one out")
    if args.days is not None:
        synthetic_days.write(args.out, *sizes, args.days, TURNOVER if args.turnover is None else args.turnover,
                             0 if args.domains is None else args.domains)
    elif args.domains is not None:
        raise DataError(f"--domains is {args.domains}, but only a world with days has domains; give --days too")
    elif args.turnover is not None:
        raise DataError(f"--turnover is {args.turnover:g}, but nothing ends in a world without days; give --days too")
    else:
        synthetic.write(args.out, *sizes, context=args.context)


def run(args: argparse.Namespace) -> int:
    """Writes a data folder; returns the exit status, 1 if the source cannot be used."""
    if args.folder is None and args.log is not None:
        args.folder = Path(args.log)
    try:
        if args.source == "synthetic":
            _write_world(args)
        elif args.source == "infer":
            _infer(args)
        elif args.source not in FROM_FOLDER:
            raise _unknown(args.source)
        elif args.folder is None:
            raise DataError(f"source {args.source} needs --source, the folder that holds it")
        elif args.folder.resolve() == args.out.resolve():
            raise DataError(f"--source and --out are both {args.folder}; name another folder to write")
        elif args.source == "snap-ads":
            print(snap_ads.write(args.folder, args.out, args.users, args.events, args.seed))
        else:
            FROM_FOLDER[args.source](args.folder, args.out)
    except (DataError, FeatureError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}")
    return 0
