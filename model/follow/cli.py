"""`python -m model follow`: learns from the change log, window by window."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config.errors import ConfigError
from model.progress.lines import tell

if TYPE_CHECKING:
    from model.follow.follower import Windows
    from model.follow.promotion import Promoter

TOKEN = "RETRIEVAL_ADMIN_TOKEN"
USERS = 2_000
ATTRIBUTION_WINDOW = 7 * 86_400
LOG_BESIDE = "changes.sqlite3"
"""Name of the change log in a folder of bundles, where none is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundles", type=Path, required=True, help="folder of bundles to write into and to promote in")
    parser.add_argument("--out", type=Path, required=True, help="folder of the follower: its state, windows and runs")
    parser.add_argument("--run", type=Path, help="the run that serves, to begin with; later the follower knows its own")
    parser.add_argument("--log", metavar="WHERE", help="path or URL of the change log (default: "
                                                       f"{LOG_BESIDE} in --bundles)")
    parser.add_argument("--world", type=Path, metavar="DIR",
                        help="play a moving world (`data synthetic --days`) instead of a change log: each of its days "
                             "is a window, and the report has what --run, which stays, predicts of it")
    parser.add_argument("--service", metavar="URL", help="promote by the admin call of this service, whose gate may "
                                                         f"refuse; its token is read from {TOKEN} (default: set the "
                                                         "pointer of --bundles)")
    parser.add_argument("--events", type=_at_least_one, metavar="N", help="events of a window")
    parser.add_argument("--every", type=_at_least_one, metavar="SECONDS", help="time that a window spans")
    parser.add_argument("--once", action="store_true",
                        help="learn one window of what the log has now, --events at most, and end")
    parser.add_argument("--attribution-window", type=_at_least_one, default=ATTRIBUTION_WINDOW, metavar="SECONDS",
                        help="longest time from an impression to a click or conversion that is joined to it (default "
                             "%(default)s, a week)")
    parser.add_argument("--users", type=int, default=USERS, metavar="N",
                        help="users to measure recall with; 0 = all (default %(default)s)")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Follows until it is interrupted, or learns one window; returns the exit status."""
    from index_store.bundle.pointer import PointerError
    from index_store.changes.change_log import ChangeLogError
    from model.follow.follower import ModelFollower
    from model.follow.simulation import simulate

    if not args.bundles.is_dir():
        raise ConfigError(f"{args.bundles} is not a folder; name the folder of bundles that the service was started "
                          "with")
    follower = ModelFollower(folder=args.out, windows=_windows(args), bundles=args.bundles, promoter=_promoter(args),
                             users=args.users, attribution_window=args.attribution_window)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        state = follower.begin(args.run)
        if args.world is not None:
            for report in simulate(follower, state, args.run):
                _tell(report)
            return 0
        while (learned := follower.step(state)) is not None:
            state, report = learned
            _tell(report)
            if args.once:
                return 0
    except (ChangeLogError, PointerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the change log has no event after entry {state.sequence}")
    return 0


def _windows(args: argparse.Namespace) -> Windows:
    """Where windows come from.

    Raises:
        ConfigError: flags are missing, or do not go together.
    """
    from model.follow.log_windows import LogWindows
    from model.follow.world_windows import WorldWindows

    if args.world is not None:
        for flag in ("log", "events", "every", "service"):
            if getattr(args, flag) is not None:
                raise ConfigError(f"--{flag} is given, but the windows of --world are its days; leave one of the two "
                                  "out")
        if args.run is None:
            raise ConfigError("--world needs --run, the run that stays and that the follower begins with")
        return WorldWindows(args.world)
    if not args.once and args.events is None and args.every is None:
        raise ConfigError("how large a window is has to be said: give --events N, --every SECONDS, or --once")
    return LogWindows(where=args.log or str(args.bundles / LOG_BESIDE), events=args.events, seconds=args.every,
                      once=args.once)


def _promoter(args: argparse.Namespace) -> Promoter:
    from model.follow.promotion import ByPointer, ByService

    if args.service is None:
        return ByPointer(args.bundles)
    if not os.environ.get(TOKEN):
        raise ConfigError(f"{TOKEN} is not set, and the service does nothing without its admin token; set it, or leave "
                          "--service out")
    return ByService(args.service, os.environ[TOKEN])


def _tell(report: dict[str, Any]) -> None:
    """Prints a report as one JSON object; a table of the gate goes to standard error."""
    if report.get("comparison"):
        tell(report["comparison"])
    print(json.dumps(report, allow_nan=False), flush=True)
