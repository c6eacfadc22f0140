"""`python -m service.cluster`: run one shard as a process, or a root and its shards on Ray."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from service.cluster.opened_shards import OpenedShards
from service.cluster.shard_server import ShardServer, run_server
from service.retrieval.onnx_towers import DenseRun
from service.settings import SettingsError, read_settings
from service.telemetry.request_log import flush


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 the bundle, the address or Ray cannot be used, 2 a usage error or wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m service.cluster",
                                     description="Serves a sharded bundle, see docs/cluster.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    shard = commands.add_parser("shard", help="serve one shard of the roots in a folder")
    shard.add_argument("bundles", type=Path, help="folder of roots, or one root; of each, `shards/NUMBER` is needed")
    shard.add_argument("--number", type=int, required=True, help="of the shard, from 0")
    shard.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    shard.add_argument("--port", type=int, required=True, help="port to listen on (0 lets the system choose)")
    args = parser.parse_args(words)
    try:
        settings = read_settings({"host": args.host, "port": args.port})
        run = DenseRun(settings.kernel, settings.onnx_threads)
        if not args.bundles.is_dir():
            raise OSError(f"{args.bundles} is not a folder; name the folder of roots")
        server = ShardServer(OpenedShards(args.bundles, args.number, run))
        run_server(server, settings.host, settings.port)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
