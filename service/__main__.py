"""`python -m service BUNDLE`: serve a bundle, check it, or print the OpenAPI document.

Each of the three imports what it needs itself, so that a refusal is immediate and the supervisor stays small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import PointerError, served_bundle
from index_store.declaration.values import FeatureError
from service.contract.errors import ServiceError
from service.sampling.beam_files import BeamFolderError
from service.settings import Settings, SettingsError, read_settings, service_links
from service.shards.shard_access import ShardAccess
from service.supervisor.supervisor import ListenError, serve
from service.telemetry.request_log import log

_EXAMPLES = """
examples:
  python -m service build/bundle                     serve on 127.0.0.1:8080
  python -m service build/bundle --port 9000 --workers 4
  REDIS_URL=redis://127.0.0.1:6379/0 python -m service build/bundle
                                                     share user embeddings between workers and restarts
  python -m service bundles                          serve what `bundles/current` names, and follow it
  python -m service build/bundle --check             verify every file, replay the golden requests, exit 0 or 1
  curl -s localhost:8080/retrieve -H 'Content-Type: application/json' -d '{"user_id": "42", "top_k": 10}'

All other settings are environment variables (RETRIEVAL_...): see docs/operations.md.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 the bundle or the address cannot be used, 2 a usage error or wrong settings."""
    parser = argparse.ArgumentParser(
        prog="python -m service", description="Answers POST /retrieve with the best ads of a sealed bundle.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?",
                        help="folder written by `python -m model export`, or a folder of bundles with a pointer")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; 0.0.0.0 for all)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8080; 0 lets the system choose)")
    parser.add_argument("--workers", type=int, help="processes that answer requests (default 1; usually one per core)")
    parser.add_argument("--check", action="store_true", help="do not serve: verify the bundle and replay golden.json")
    parser.add_argument("--openapi", action="store_true", help="do not serve: print the OpenAPI document")
    args = parser.parse_args(words)
    try:
        if args.openapi:
            print(openapi())
            return 0
        if args.bundle is None:
            parser.error("name a BUNDLE, a folder written by `python -m model export`")
        settings = read_settings({"host": args.host, "port": args.port, "workers": args.workers})
        if links := service_links(os.environ):
            log("service_links_ignored", variables=sorted(links), help="set enableServiceLinks: false in the pod")
        if args.check:
            return asyncio.run(check(served_bundle(args.bundle), ShardAccess.of(settings)))
        return serve(args.bundle, settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BundleError, PointerError, ListenError, BeamFolderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def openapi() -> str:
    """The OpenAPI document, as in docs/openapi.json; it does not depend on bundle or settings."""
    from service.http.app import VERSION, Api
    from service.http.openapi import document

    return json.dumps(document(Api(Settings.model_construct()).routes, VERSION), indent=1, ensure_ascii=False)


async def check(folder: Path, shards: ShardAccess | None = None) -> int:
    """Verifies a bundle and replays its golden requests, printing a line for each; returns the exit status."""
    from service.bundles.golden import replay
    from service.retrieval.retriever import Retriever

    opened = Bundle.open(folder)
    print(f"ok    {len(opened.manifest.files)} files of bundle {opened.bundle_id} have the sealed content")
    retriever = Retriever(opened, shards=shards)
    problems = 0
    try:
        async for done in replay(retriever):
            if done.problem is None:
                print(f"ok    golden request {done.number}: {done.ads} ads, scores at most {done.difference:.1e} apart")
            else:
                problems += 1
                print(f"WRONG golden request {done.number}: {done.problem}")
    except (ServiceError, FeatureError) as error:
        problems += 1
        print(f"WRONG golden.json holds a request that this service refuses: {error}")
    finally:
        retriever.close()
    if problems:
        print(f"{problems} of {len(opened.golden)} golden requests are answered wrongly on this machine; export the "
              "bundle again with the installed versions")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
