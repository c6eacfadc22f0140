"""Damaged bundles: every file damaged in every way; each must be refused while the current bundle keeps serving."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.layout import ITEM_TOWER
from index_store.bundle.manifest import FORMAT_VERSION, MANIFEST
from loadtest.chaos.result import Result, judged
from loadtest.chaos.testbed import FIRST, SECOND, Testbed
from loadtest.chaos.traffic import Traffic

WAYS = ("missing", "truncated", "bit flipped", "foreign", "newer")
_NEWER = 99
_NPY_VERSION_AT = 6


def damage(testbed: Testbed) -> list[Result]:
    """Loads each damaged bundle with `force`; each must be refused with a reason."""
    store = testbed.store(FIRST)
    replica = testbed.replica(store)
    cases = list(damages(testbed.bundles / FIRST, testbed.bundles / SECOND))
    if testbed.scale.most_damages:
        chosen = np.linspace(0, len(cases) - 1, testbed.scale.most_damages)
        cases = [cases[round(at)] for at in chosen]
    problems, reasons = [], Counter[str]()
    with Traffic([replica.address], testbed.answers, testbed.scale.rate) as traffic:
        traffic.phase("before")
        traffic.spend(testbed.scale.seconds)
        traffic.phase("during")
        for number, (file, way) in enumerate(cases):
            name = f"damaged_{number}"
            write_damaged(testbed.bundles / FIRST, testbed.bundles / SECOND, store / name, file, way)
            status, reply = replica.call("/admin/bundles/load", {"bundle": name, "force": True})
            reasons[f"{status} {reply.get('error_type', '')}"] += 1
            if status != 409 or reply["error_type"] != "bundle_refused" or not reply["message"]:
                problems.append(f"{file}, {way}: answered with {status} {reply}")
            shutil.rmtree(store / name)
        traffic.phase("after")
        traffic.spend(testbed.scale.seconds)
    replica.stop()
    others = {one.bundle_id for one in traffic.outcomes if one.status == 200} - {testbed.answers.bundle_ids[0]}
    problems += [f"bundle {bundle_id} was served" for bundle_id in others]
    return [judged("damaged bundles", traffic.phases(), {
        "files": len({file for file, _ in cases}), "cases": dict(Counter(way for _, way in cases)),
        "answers": dict(reasons)}, problems)]


def damages(source: Path, other: Path) -> Iterator[tuple[str, str]]:
    """Every combination of a file and a kind of damage.

    A file that is identical in the other bundle cannot be `foreign`. `newer` is for files that have a version and are
    read by the service: the manifest, arrays, and graphs except the item tower.
    """
    for file in sorted([MANIFEST, *BundleFiles(source, verify=False).manifest.files]):
        for way in WAYS:
            foreign = other / file
            if way == "foreign" and (not foreign.exists() or foreign.read_bytes() == (source / file).read_bytes()):
                continue
            if way == "newer" and (file == ITEM_TOWER or (file.endswith(".json") and file != MANIFEST)):
                continue
            yield file, way


def write_damaged(source: Path, other: Path, target: Path, file: str, way: str) -> None:
    """Writes a copy of a bundle with one file damaged; unchanged files are links to those of the source.

    A bundle with a newer file is sealed again, so that its checksums match; otherwise the manifest is not changed.
    """
    content = (source / file).read_bytes()
    if way == "newer" and file != MANIFEST:
        _reseal(source, target, file, _newer(content, file))
        return
    shutil.copytree(source, target, copy_function=os.link)
    (target / file).unlink()
    if way == "truncated":
        (target / file).write_bytes(content[:len(content) // 2])
    elif way == "bit flipped":
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1 << len(content) % 8
        (target / file).write_bytes(changed)
    elif way == "foreign":
        shutil.copy(other / file, target / file)
    elif way == "newer":
        (target / file).write_text(json.dumps(json.loads(content) | {"format_version": FORMAT_VERSION + 1}))


def _newer(content: bytes, file: str) -> bytes:
    """The file with the version of a later format."""
    if file.endswith(".npy"):
        return content[:_NPY_VERSION_AT] + bytes([_NEWER]) + content[_NPY_VERSION_AT + 1:]
    model = onnx.load_model_from_string(content)
    model.ir_version = _NEWER
    written: bytes = model.SerializeToString()
    return written


def _reseal(source: Path, target: Path, file: str, content: bytes) -> None:
    manifest = BundleFiles(source, verify=False).manifest
    writer = BundleWriter(target)
    for name in manifest.files:
        if name != file:
            os.link(source / name, writer.path(name))
    writer.path(file).write_bytes(content)
    writer.seal(dims=manifest.dims, tasks=manifest.tasks, calibrated=manifest.calibrated, levels=manifest.levels,
                counts=manifest.counts, search=manifest.search)
