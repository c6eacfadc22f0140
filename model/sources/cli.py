"""`python -m model data SOURCE`: converts a source into a data folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model.data.tables import DataError
from model.sources import beibei, gowalla, parquet, snap_ads, synthetic, synthetic_days, taobao_ad

FROM_FOLDER = {"taobao-ad": taobao_ad.write, "gowalla": gowalla.write, "beibei": beibei.write, "parquet": parquet.write}

TURNOVER = 0.03
"""Share of the ads that end every day, where the world moves: in a month more than half."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("source", choices=[*FROM_FOLDER, "snap-ads", "synthetic"],
                        help="a public data set, a planted world, real targeting in one (snap-ads), or your own log as "
                             "Parquet with features.json")
    parser.add_argument("--source", dest="folder", type=Path, help="folder that holds the source (not for synthetic)")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
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
    world.add_argument("--context", action="store_true",
                       help="a world in which hour and position of an impression matter; its log tells both")
    world.add_argument("--seed", type=int, default=0, help="seed of the world (default %(default)s)")


def _write_world(args: argparse.Namespace) -> None:
    sizes = args.ads, args.users, args.events, args.seed
    if args.days is not None and args.context:
        raise DataError("--context and --days are given, but a world that moves has no context; leave one out")
    if args.days is not None:
        synthetic_days.write(args.out, *sizes, args.days, TURNOVER if args.turnover is None else args.turnover)
    elif args.turnover is not None:
        raise DataError(f"--turnover is {args.turnover:g}, but nothing ends in a world without days; give --days too")
    else:
        synthetic.write(args.out, *sizes, context=args.context)


def run(args: argparse.Namespace) -> int:
    """Writes a data folder; returns the exit status, 1 if the source cannot be used."""
    try:
        if args.source == "synthetic":
            _write_world(args)
        elif args.folder is None:
            raise DataError(f"source {args.source} needs --source, the folder that holds it")
        elif args.folder.resolve() == args.out.resolve():
            raise DataError(f"--source and --out are both {args.folder}; name another folder to write")
        elif args.source == "snap-ads":
            print(snap_ads.write(args.folder, args.out, args.users, args.events, args.seed))
        else:
            FROM_FOLDER[args.source](args.folder, args.out)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}")
    return 0
