"""`python -m service.speculation`: keeps the stored pairs of a foundation model up to date."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis

from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import PointerError, is_bundle_folder, served_bundle
from index_store.changes.change_log import ChangeLogError
from service.cache.redis_connection import open_pool
from service.live.follower import Follower
from service.live.log_place import LogPlace, with_log_beside
from service.live.shared_log import SharedLog
from service.settings import Settings, SettingsError, read_settings, variable
from service.speculation.pair_maker import PairMaker
from service.speculation.worker import Worker
from service.telemetry.request_log import log

_LOWEST_PRIORITY = 19
_TIMEOUT_SECONDS = 1.0
_EXAMPLE = """example:
  REDIS_URL=redis://127.0.0.1:6379/0 python -m service.speculation bundles --foundation foundations/large

Settings are those of the service, see docs/operations.md: REDIS_URL, RETRIEVAL_CHANGE_LOG and others.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a signal, 1 a bundle, pointer or change log cannot be used, 2 wrong usage or settings."""
    parser = argparse.ArgumentParser(
        prog="python -m service.speculation", epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Asks a foundation model about the ads that the users who asked last will likely be shown, and "
                    "stores what it says in the service's Redis. Any number of these may run, on any machine.")
    parser.add_argument("bundle", type=Path, help="the bundle that is served, exported with --foundation, or the "
                                                  "folder of bundles with the pointer")
    parser.add_argument("--foundation", type=Path, required=True, nargs="+",
                        help="bundle of the foundation model, exported with --as-foundation; of a model of several "
                             "runs all of them, in the order of export --foundation")
    parser.add_argument("--pairs", type=_positive, default=256, help="most pairs of a user (default %(default)s)")
    parser.add_argument("--ttl", type=_positive, default=3600, metavar="SECONDS",
                        help="how long pairs are used; users who ask in the second half get new ones (default "
                             "%(default)s)")
    args = parser.parse_args(words)
    os.nice(_LOWEST_PRIORITY)
    try:
        settings = with_log_beside(read_settings({}), args.bundle if is_bundle_folder(args.bundle) else None)
        if settings.redis_url is None:
            raise SettingsError(f"{variable('redis_url')} is not set; name the Redis of the service, which reads the "
                                "pairs there")
        asyncio.run(_run(args, settings))
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BundleError, PointerError, ChangeLogError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(args: argparse.Namespace, settings: Settings) -> None:
    """Works for the served bundle until a signal comes; opens another one when the pointer moves."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    redis = Redis(connection_pool=open_pool(settings, _TIMEOUT_SECONDS))
    place = LogPlace.of(settings)
    try:
        while not ended.is_set():
            folder = served_bundle(args.bundle)
            maker = PairMaker.open(folder, args.foundation, settings, args.pairs, args.ttl)
            changes = None if place is None else SharedLog(place)
            follower = None if changes is None else Follower(changes)
            try:
                if follower is not None:
                    await asyncio.to_thread(follower.add, maker, maker.log_id)
                    for member in maker.foundation.members:
                        await asyncio.to_thread(follower.add, member, member.log_id)
                log("speculating", bundle_id=maker.bundle_id, foundation=maker.model)
                worker = Worker(redis, maker, args.ttl)
                while not ended.is_set() and served_bundle(args.bundle) == folder:
                    await worker.step()
                    await worker.report()
            finally:
                if follower is not None:
                    await asyncio.to_thread(follower.close)
                if changes is not None:
                    changes.close()
                maker.close()
    finally:
        await redis.aclose()


def _positive(text: str) -> int:
    """A number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
