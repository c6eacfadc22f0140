"""`python -m loadtest COMMAND`: speed is never reported without quality."""

from __future__ import annotations

import argparse
import sys
from types import ModuleType

from loadtest.bench import bench, kernel, targeting
from loadtest.chaos import command as chaos
from loadtest.demo import demo
from loadtest.growth import grow, opening
from loadtest.http import fuzz, open_loop

COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "bench": (bench, "beam against exhaustive and rivals: quality, pairs, latency"),
    "grow": (grow, "the bench on ever larger synthetic worlds"),
    "targeting": (targeting, "searches where few ads may be shown, against those of all"),
    "kernel": (kernel, "the scorer's arithmetic against the machine's peak"),
    "opening": (opening, "time to open a bundle, memory of a further worker"),
    "http": (open_loop, "a running service at given rates: goodput, percentiles"),
    "chaos": (chaos, "faults under load: failed requests, added latency, recovery"),
    "fuzz": (fuzz, "random requests by the OpenAPI document: replies that it does not allow"),
    "demo": (demo, "from a log to answered requests"),
}


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, what) in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=what, description=module.__doc__,
                                                 formatter_class=argparse.RawDescriptionHelpFormatter))
    args = parser.parse_args()
    status: int = COMMANDS[args.command][0].run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
