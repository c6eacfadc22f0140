"""`python -m loadtest COMMAND`: measures searches and a running service, injects faults, runs the demo."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "bench": ("loadtest.bench.bench", "beam against exhaustive search and baselines: quality, pairs, latency"),
    "grow": ("loadtest.growth.grow", "the bench on ever larger synthetic worlds"),
    "targeting": ("loadtest.bench.targeting", "searches when few ads are eligible, against untargeted ones"),
    "added": ("loadtest.bench.added", "searches while ads are added: what the beam finds of them, what it costs"),
    "withdrawn": ("loadtest.bench.withdrawn", "searches while ads are withdrawn: 0, 1, 500, a quarter of them"),
    "value": ("loadtest.bench.value", "searches by eCPM: overlap, value, pairs, latency, at rest and while bids move"),
    "exploration": ("loadtest.bench.exploration", "new ads in their first hour: impressions, cost, what is learned"),
    "caps": ("loadtest.bench.caps", "searches under random caps against a plain walk over all ads"),
    "pacing": ("loadtest.pacing.command", "days of a market: what campaigns spend and win, with and without pacing"),
    "kernel": ("loadtest.bench.kernel", "the scorer's FLOPS against the machine's peak"),
    "opening": ("loadtest.growth.opening", "time to open a bundle, memory of a further worker"),
    "sharded": ("loadtest.cluster.sharded", "a root and its shards beside the bundle they were made of"),
    "capacity": ("loadtest.cluster.capacity", "memory, shards and latency for more ads than were measured"),
    "http": ("loadtest.http.open_loop", "a running service at given rates: goodput, percentiles"),
    "shadow": ("loadtest.http.shadow", "what a bundle in the shadow adds to the answers of a service"),
    "clicks": ("loadtest.http.clicks", "from a click in one service to a changed answer in another"),
    "had": ("loadtest.http.had", "what users had already, among what a running service answers"),
    "client": ("loadtest.http.client_cost", "size and import time of the Python client, installed for itself"),
    "churn": ("loadtest.churn.command", "ads and users that change while two services answer, by a runbook"),
    "replay": ("loadtest.churn.replay", "what a worker takes to catch up with a log of changes, and their memory"),
    "chaos": ("loadtest.chaos.command", "faults under load: failed requests, added latency, recovery"),
    "fuzz": ("loadtest.http.fuzz", "random requests from the OpenAPI document: undocumented replies"),
    "demo": ("loadtest.demo.demo", "from a log to answered requests"),
}
"""Command -> its module and one line of help. Only the module of the command that runs is imported, because each
needs packages that the others do not: the load image has those of `http` and `fuzz` alone."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status of the command."""
    arguments = sys.argv[1:] if words is None else list(words)
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    parsers = {name: commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
               for name, (_, text) in COMMANDS.items()}
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        parser.parse_args(arguments)  # prints the help or what is wrong, and exits
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        parser.error(f"`{name}` needs the package {error.name}, which is not installed; `make setup` installs all "
                     "that the commands need")
    parsers[name].description = module.__doc__
    module.add_arguments(parsers[name])
    status: int = module.run(parser.parse_args(arguments))
    return status


if __name__ == "__main__":
    sys.exit(main())
