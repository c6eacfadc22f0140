"""`python -m index_store inspect|verify BUNDLE`: look at a bundle, or check every byte of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from index_store.bundle import BundleError, BundleFiles
from index_store.store import Bundle, describe


def main() -> int:
    """Exit status: 0 fine, 1 the bundle is broken, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m index_store", description="Look at a sealed bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="print the manifest, without checking contents")
    verify = commands.add_parser("verify", help="check every byte and array; exit 1 and say why if broken")
    for command in (inspect, verify):
        command.add_argument("bundle", type=Path, help="folder written by `python -m model export`")
    args = parser.parse_args()
    try:
        if args.command == "inspect":
            manifest = BundleFiles(args.bundle, verify=False).manifest
            print(json.dumps(describe(manifest), indent=1))
        else:
            manifest = Bundle.open(args.bundle).manifest
            print(f"{args.bundle}: bundle {manifest.bundle_id} is sound: {len(manifest.files)} files, "
                  f"{manifest.counts['items']} items, {manifest.counts['users']} users")
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
