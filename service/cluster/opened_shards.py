"""The shards that one process has open: one of each root that somebody is connected for, by the root's id."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.shard import Shard, ShardPlace
from index_store.search.scoring import TowerScorer
from service.retrieval.onnx_towers import DenseRun, shard_layer
from service.telemetry.request_log import log


@dataclass
class OpenShard:
    """An open shard, and how many connections use it."""

    place: ShardPlace
    scorer: TowerScorer
    users: int = 1


class OpenedShards:
    """Opens shards when a root asks for them, and closes them once nobody does; thread-safe.

    Args:
        folder: a root, or a folder of roots, of which the shards alone are needed.
        number: of the shard of each root that this process serves.
        run: how the scorer is computed.
    """

    def __init__(self, folder: Path, number: int, run: DenseRun) -> None:
        self.folder, self.number, self._run = folder, number, run
        self._open: dict[str, OpenShard] = {}
        self._verified: set[tuple[Path, str]] = set()
        self._lock, self._opening = threading.Lock(), threading.Lock()

    @property
    def roots(self) -> list[str]:
        """Ids of the roots whose shards are open."""
        with self._lock:
            return list(self._open)

    def take(self, root: str) -> OpenShard:
        """The shard of a root, verified when it is opened for the first time.

        Raises:
            BundleError: there is none, or it is broken.
        """
        if (known := self._known(root)) is not None:
            return known
        with self._opening:  # which may take a while, in which others are given back
            if (known := self._known(root)) is not None:
                return known
            opened = self._opened(root)
            with self._lock:
                self._open[root] = opened
        return opened

    def _known(self, root: str) -> OpenShard | None:
        with self._lock:
            opened = self._open.get(root)
            if opened is not None:
                opened.users += 1
            return opened

    def give_back(self, opened: OpenShard) -> None:
        """Says that one who has taken it is done with it."""
        with self._lock:
            opened.users -= 1
            if not opened.users:
                del self._open[opened.place.root]
                log("shard_closed", shard=self.number, root=opened.place.root)

    def _opened(self, root: str) -> OpenShard:
        found = []
        for folder in self._folders():
            try:
                files = BundleFiles(folder, verify=False)
                place = ShardPlace.read(files)
            except BundleError as error:  # of another root, perhaps, that is just being copied
                found.append(f"none in {folder} ({error.fact})")
                continue
            if place.root == root:
                if place.number != self.number:
                    raise files.error(layout.SHARD, f"is that of shard {place.number} of root {root}; shard "
                                                    f"{self.number} belongs there")
                content = (folder, files.manifest.bundle_id)
                shard = Shard.open(folder, verify=content not in self._verified)
                self._verified.add(content)
                log("shard_open", shard=self.number, root=root, first=place.first, end=place.end)
                return OpenShard(place, shard.scorer(shard_layer(shard, self._run)))
            found.append(place.root)
        raise BundleError(self.folder, layout.shard_folder(self.number), f"of root {root} is not here, but of "
                          f"{', '.join(found) or 'no root'}", "copy it there from where `python -m index_store shard` "
                                                             "wrote it")

    def _folders(self) -> Iterator[Path]:
        """Where this shard of any root may be."""
        for folder in (self.folder, *sorted(path for path in self.folder.iterdir() if path.is_dir())):
            if not folder.name.startswith(".") and (shard := folder / layout.shard_folder(self.number)).is_dir():
                yield shard
