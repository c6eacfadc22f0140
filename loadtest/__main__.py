"""`python -m loadtest bench|demo`: speed beside quality, and the demo."""

from __future__ import annotations

import argparse
import sys

from loadtest import bench, demo


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bench.add_arguments(commands.add_parser("bench", help="beam against exhaustive: quality, pairs, latency",
                                            description=bench.__doc__))
    demo.add_arguments(commands.add_parser("demo", help="from a log to answered requests", description=demo.__doc__))
    args = parser.parse_args()
    status: int = {"bench": bench.run, "demo": demo.run}[args.command](args)
    return status


if __name__ == "__main__":
    sys.exit(main())
