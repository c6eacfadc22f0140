"""`python -m service.cluster`: run one shard or one root as a process, or all of them on Ray.

Each imports what it needs itself: the process of a root stays as small as that of `python -m service`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import PointerError
from service.settings import SettingsError, read_settings
from service.telemetry.request_log import flush


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 a bundle, an address or Ray cannot be used, 2 a usage error or wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m service.cluster",
                                     description="Serves a sharded bundle, see docs/cluster.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    shard = commands.add_parser("shard", help="serve one shard of the roots in a folder")
    shard.add_argument("bundles", type=Path, help="folder of roots, or one root; of each, `shards/NUMBER` is needed")
    shard.add_argument("--number", type=int, required=True, help="of the shard, from 0")
    shard.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    shard.add_argument("--port", type=int, required=True, help="port to listen on (0 lets the system choose)")
    root = commands.add_parser("root", help="as `python -m service`, but it ends when its standard input does")
    up = commands.add_parser("up", help="serve a root and its shards on Ray until Ctrl-C")
    for command in (root, up):
        command.add_argument("bundles", type=Path, help="folder of roots with a pointer, or one root")
        command.add_argument("--host", help="address that roots listen on (default 127.0.0.1)")
        command.add_argument("--port", type=int, help="port that roots listen on (default 8080)")
    up.add_argument("--address", help="of a running Ray, HOST:PORT or `auto`; without it one is started here")
    up.add_argument("--roots", type=int, default=1, help="replicas of the root, at most one on a node")
    up.add_argument("--replicas", default="1", help="replicas of each shard: a number, or a range like 1-4, within "
                                                    "which they follow its load (default 1)")
    up.add_argument("--root-cpus", type=float, default=1.0, help="cores that Ray reserves for a root")
    up.add_argument("--shard-cpus", type=float, default=1.0, help="cores that Ray reserves for a replica of a shard")
    args = parser.parse_args(words)
    try:
        return {"shard": _shard, "root": _root, "up": _up}[args.command](args)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, BundleError, PointerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        flush()


def _shard(args: argparse.Namespace) -> int:
    from service.cluster.opened_shards import OpenedShards
    from service.cluster.shard_server import ShardServer, run_server
    from service.retrieval.onnx_towers import DenseRun

    settings = read_settings({"host": args.host, "port": args.port})
    if not args.bundles.is_dir():
        raise OSError(f"{args.bundles} is not a folder; name the folder of roots")
    shards = OpenedShards(args.bundles, args.number, DenseRun(settings.kernel, settings.onnx_threads))
    run_server(ShardServer(shards), settings.host, settings.port)
    return 0


def _root(args: argparse.Namespace) -> int:
    from service.supervisor.supervisor import ListenError, serve

    settings = read_settings({"host": args.host, "port": args.port})
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        return serve(args.bundles, settings)
    except ListenError as error:
        raise OSError(str(error)) from error


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not through the buffer, whose lock the end of the process would need
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _up(args: argparse.Namespace) -> int:
    from pydantic import ValidationError

    from service.cluster.ray_cluster import RayError, run_application
    from service.cluster.serve_app import ClusterArgs

    settings = read_settings({"host": args.host, "port": args.port})
    try:
        run_application(ClusterArgs(
            bundles=str(args.bundles.resolve()), host=settings.host, port=settings.port, roots=args.roots,
            replicas=args.replicas, root_cpus=args.root_cpus, shard_cpus=args.shard_cpus), args.address)
    except RayError as error:
        raise OSError(str(error)) from error
    except ValidationError as error:
        for problem in error.errors():
            option = "-".join(str(part) for part in problem["loc"]).replace("_", "-")
            print(f"error: --{option}: {problem['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
