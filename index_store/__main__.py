"""Command line of `index_store`: inspect, verify and promote bundles."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle, describe
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import BundleNameError, Pointer, PointerError


def main() -> int:
    """Exit status: 0 if all is well, 1 if the bundle is broken or the pointer cannot be set, 2 for a usage error."""
    parser = argparse.ArgumentParser(prog="python -m index_store",
                                     description="Inspect, verify and promote sealed bundles.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="print the manifest, without checking the contents")
    verify = commands.add_parser("verify", help="verify checksums and arrays; exit 1 with the reason if one is wrong")
    for command in (inspect, verify):
        command.add_argument("bundle", type=Path, help="folder written by `python -m model export`")
    promoted = commands.add_parser("promote", help="verify a bundle and point its folder's `current` at it")
    promoted.add_argument("bundles", type=Path, help="folder that holds bundles")
    promoted.add_argument("name", help="the bundle in it to serve")
    args = parser.parse_args()
    try:
        if args.command == "inspect":
            manifest = BundleFiles(args.bundle, verify=False).manifest
            print(json.dumps(describe(manifest), indent=1))
        elif args.command == "verify":
            manifest = Bundle.open(args.bundle).manifest
            print(f"{args.bundle}: bundle {manifest.bundle_id} is sound: {len(manifest.files)} files, "
                  f"{manifest.counts['items']} items, {manifest.counts['users']} users")
        else:
            print(promote(args.bundles, args.name))
    except (BundleError, PointerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BundleNameError as error:
        parser.error(str(error))
    return 0


def promote(bundles: Path, name: str) -> str:
    """Verifies a bundle and sets the pointer; returns a line for the caller.

    Services of this folder follow within a second, after a check of their own.

    Raises:
        BundleNameError: `name` cannot be that of a bundle.
        BundleError: the bundle is broken.
        PointerError: the pointer cannot be written.
    """
    bundle_id = Bundle.open(bundles / pointer.check_name(name)).bundle_id
    before = pointer.read_if_any(bundles)
    promoted = Pointer(name) if before is None else before.to(name)
    pointer.replace(bundles, promoted, before)
    before_it = f"; before it {promoted.previous}" if promoted.previous else ""
    return f"{bundles / pointer.POINTER}: {name}, bundle {bundle_id}{before_it}"


if __name__ == "__main__":
    sys.exit(main())
