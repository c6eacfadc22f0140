"""The listing of GET /admin/bundles: the bundles beside the pointer, and what each worker serves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer, bundle_names
from service.supervisor.workers import Worker


def listing(store: Path, current: Pointer | None, problem: str | None, loading: str | None,
            workers: Iterable[Worker]) -> dict[str, Any]:
    """The reply.

    Args:
        store: folder of bundles.
        current: its pointer, None where that cannot be read.
        problem: why the pointer is not followed.
        loading: name of the bundle that is being checked.
        workers: of this replica.
    """
    return {"current": None if current is None else current.bundle,
            "previous": None if current is None else current.previous, "problem": problem, "loading": loading,
            "bundles": [_described(store / name) for name in bundle_names(store)], "workers": serving(workers)}


def serving(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """What each worker serves, null before it is ready, why it lags behind, and what it has on trial."""
    return [{"worker_id": worker.process_id, "bundle": worker.serving and worker.serving.name,
             "bundle_id": worker.serving and worker.serving.bundle_id, "problem": worker.failure,
             "canary": worker.tried.canary and worker.tried.canary.name,
             "shadow": worker.tried.shadow and worker.tried.shadow.name}
            for worker in workers]


def _described(folder: Path) -> dict[str, Any]:
    try:
        manifest = BundleFiles(folder, verify=False).manifest
    except BundleError as error:
        return {"bundle": folder.name, "bundle_id": None, "created_at": None, "problem": str(error)}
    return {"bundle": folder.name, "bundle_id": manifest.bundle_id, "created_at": manifest.created_at, "problem": None}
