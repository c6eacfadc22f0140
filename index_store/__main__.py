"""Command line of `index_store`: inspect, verify, promote and shard bundles; keep change logs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from index_store.budgets.remembered import remembered_seconds
from index_store.bundle import layout, pointer
from index_store.bundle.bundle import Bundle, describe
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.part_sizes import part_sizes, total_bytes
from index_store.bundle.pointer import BundleNameError, Pointer, PointerError, bundle_names
from index_store.bundle.shard import Shard, open_shards
from index_store.bundle.shard_map import ShardMap
from index_store.bundle.sharding import shard_bundle
from index_store.changes import backup
from index_store.changes.by_time import last_before
from index_store.changes.change_log import Change, ChangeLog, ChangeLogError, Kind
from index_store.changes.open_log import open_existing_log

_CHANGES = """
WHERE is the path of a SQLite file, or the URL of a Redis (redis://, rediss:// or unix://).

  show     prints the index, the log's own id, the number of the last change and its time, and that of the last one
           that was trimmed; with --ad or --user the last change of that ad or user, and with --after N all entries that
           follow number N, a JSON object a line
  backup   copies the log into a new file while it is being used. The file is there only once it is complete, and is
           itself a log that can be shown
  trim     removes the entries that all bundles of a folder include, the previous one too, but for the last state of
           each ad, campaign and user; where campaigns are declared, what came in the last 52 hours stays too, or in
           the hours of the longest frequency cap. While it runs, the log can be used. A bundle that includes less can
           no longer be served
  restore  makes a log out of such a file, with the same id, numbers and idempotency keys. WHERE must be a new file, or
           a Redis without a log of this index. Stop the services first: one that has read further than the backup
           reaches refuses the restored log until it is restarted

  python -m index_store changes show redis://:PASSWORD@HOST:6379/0
  python -m index_store changes backup /data/changes.db /backups/changes-2026-11-29.db
  python -m index_store changes trim redis://:PASSWORD@HOST:6379/0 --bundles /bundles
  python -m index_store changes restore /backups/changes-2026-11-29.db redis://:PASSWORD@HOST:6379/0
"""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 if all is well, 1 if a bundle, pointer or change log cannot be used, 2 for a usage error."""
    parser = argparse.ArgumentParser(prog="python -m index_store",
                                     description="Inspect, verify, promote and shard sealed bundles; keep change logs.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="print the manifest, without checking the contents")
    verify = commands.add_parser("verify", help="verify checksums and arrays; exit 1 with the reason if one is wrong")
    for command in (inspect, verify):
        command.add_argument("bundle", type=Path, help="folder written by `python -m model export`")
    promoted = commands.add_parser("promote", help="verify a bundle and point its folder's `current` at it")
    promoted.add_argument("bundles", type=Path, help="folder that holds bundles")
    promoted.add_argument("name", help="the bundle in it to serve")
    sharded = commands.add_parser("shard", help="make a root and its shards of a bundle, for several machines")
    sharded.add_argument("bundle", type=Path, help="folder written by `python -m model export`")
    sharded.add_argument("--shards", type=int, required=True, help="ranges of its ads, at most one for each leaf node")
    sharded.add_argument("--out", type=Path, required=True, help="the new root, which holds its shards in `shards/`")
    changes = commands.add_parser("changes", help="show, back up, trim or restore a change log", epilog=_CHANGES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_changes(changes.add_subparsers(dest="action", required=True))
    args = parser.parse_args(words)
    try:
        if args.command == "inspect":
            manifest = BundleFiles(args.bundle, verify=False).manifest
            print(json.dumps(describe(manifest), indent=1))
        elif args.command == "verify":
            print(verify_bundle(args.bundle))
        elif args.command == "promote":
            print(promote(args.bundles, args.name))
        elif args.command == "shard":
            shard_bundle(args.bundle, args.shards, args.out)
            print(parts(args.out))
        else:
            _keep_changes(args)
    except (BundleError, PointerError, ChangeLogError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BundleNameError as error:
        parser.error(str(error))
    return 0


def verify_bundle(folder: Path) -> str:
    """Verifies a bundle, a root with all of its shards, or one shard; returns lines for the caller.

    Raises:
        BundleError: it is broken, or a shard is missing or of another root.
    """
    if layout.SHARD in BundleFiles(folder, verify=False).manifest.files:
        place = Shard.open(folder).place
        return (f"{folder}: shard {place.number} of {place.shards} of root {place.root} is sound, positions "
                f"{place.first:,} to {place.end - 1:,}")
    opened = Bundle.open(folder)
    manifest, shards = opened.manifest, opened.content.shards
    sound = (f"{folder}: bundle {manifest.bundle_id} is sound: {len(manifest.files)} files, "
             f"{manifest.counts['items']} items, {manifest.counts['users']} users")
    if shards is None:
        return sound
    open_shards(opened.files, shards)
    return f"{sound}, {len(shards)} shards"


def parts(folder: Path) -> str:
    """A root and its shards, in lines for people: what each holds, and how many bytes it maps.

    Raises:
        BundleError: the root or a shard is broken.
    """
    root = BundleFiles(folder, verify=False)
    shards = ShardMap.read(root, root.manifest.counts["items"])
    assert shards is not None, "whoever asks has sharded it"
    lines = [f"{folder}: root {root.manifest.bundle_id} of {len(shards)} shards, made of bundle {shards.bundle_id}",
             f"root     {total_bytes(root) / 1e6:10,.1f} MB  {root.manifest.counts['items']:,} ads"]
    lines += [f"         {size / 1e6:10,.1f} MB  {part}" for part, size in part_sizes(root).items()]
    for number in range(len(shards)):
        shard = Shard.open(root.folder / layout.shard_folder(number), verify=False)
        lines.append(f"shard {number:<2} {total_bytes(shard.files) / 1e6:10,.1f} MB  {len(shard):,} ads, positions "
                     f"{shard.place.first:,} to {shard.place.end - 1:,}")
    return "\n".join(lines)


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


def trim(log: ChangeLog, bundles: Path) -> str:
    """Removes the entries that every bundle of a folder includes; returns a line for the caller.

    Raises:
        PointerError: there are no bundles in the folder.
        BundleError: the manifest of one is broken.
        ChangeLogError: a bundle includes more than the log has, or changes of another log, or it cannot be written.
    """
    try:
        manifests = {name: BundleFiles(bundles / name, verify=False).manifest for name in bundle_names(bundles)}
    except OSError as error:
        raise PointerError(bundles, f"the folder of bundles cannot be read ({error.strerror})",
                           "name another") from error
    if not manifests:
        raise PointerError(bundles, "there is no bundle in it, so all changes are needed", "name the folder of bundles")
    for name, manifest in manifests.items():
        if manifest.change_log_id not in ("", log.log_id):
            raise ChangeLogError(f"bundle {name} includes changes of log {manifest.change_log_id}, but this is log "
                                 f"{log.log_id}", "name the log of these bundles, or delete the bundle")
    least = min(manifests, key=lambda name: manifests[name].changes_included)
    through = manifests[least].changes_included
    states = list(log.last_states(Kind.CAMPAIGN, log.last()))
    older = last_before(log, time.time() - remembered_seconds(states), through) if states else through
    log.trim(older)
    kept = f"; those after {older} say what campaigns have spent lately" if older < through else ""
    return f"trimmed up to {log.trimmed()}; no bundle includes less than {least}, the changes up to {through}{kept}"


def _add_changes(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = actions.add_parser("show", help="print what a log holds")
    backed_up = actions.add_parser("backup", help="copy a log into a new file, while it is being used")
    trimmed = actions.add_parser("trim", help="remove the entries that all bundles include")
    for action in (show, backed_up, trimmed):
        action.add_argument("where", help="path of a SQLite file, or URL of a Redis")
        action.add_argument("--index", help="whose log; needed if there are several at this URL")
    some = show.add_mutually_exclusive_group()
    some.add_argument("--ad", help="print the last change of this ad")
    some.add_argument("--user", help="print the last change of this user")
    some.add_argument("--after", type=int, metavar="N", help="print all changes that follow number N")
    backed_up.add_argument("file", type=Path, help="the new file")
    trimmed.add_argument("--bundles", type=Path, required=True, help="folder of all bundles that may be served")
    restored = actions.add_parser("restore", help="make a log out of a backup")
    restored.add_argument("file", type=Path, help="written by `backup`")
    restored.add_argument("where", help="path of a new file, or URL of a Redis without a log of this index")


def _keep_changes(args: argparse.Namespace) -> None:
    if args.action == "restore":
        print(f"{args.file}: {backup.restore(args.file, args.where):,} changes restored")
        return
    with closing(open_existing_log(args.where, args.index)) as log:
        if args.action == "backup":
            print(f"{args.file}: {backup.back_up(log, args.file):,} changes of index {log.index}")
        elif args.action == "trim":
            print(trim(log, args.bundles))
        elif args.ad is not None or args.user is not None:
            change = log.state(Kind.USER, args.user) if args.ad is None else log.state(Kind.AD, args.ad)
            print("never changed" if change is None else _line(change))
        elif args.after is not None:
            after = args.after
            while page := log.read(after):
                print(*map(_line, page), sep="\n")
                after = page[-1].sequence
        else:
            last, trimmed = log.last(), log.trimmed()
            at = _time(log.read(last - 1)[0]) if last > trimmed else None
            print(json.dumps({"index": log.index, "id": log.log_id, "last": last, "at": at, "trimmed": trimmed}))


def _line(change: Change) -> str:
    return json.dumps({"sequence": change.sequence, "at": _time(change), "kind": change.kind,
                       "id": change.id, "fields": dict(change.fields)}, ensure_ascii=False)


def _time(change: Change) -> str:
    return datetime.fromtimestamp(change.at, UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    sys.exit(main())
