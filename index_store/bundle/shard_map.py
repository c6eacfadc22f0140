"""The shard map of a sharded bundle: which of its shards holds which item positions, as its root's files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles


@dataclass(frozen=True, eq=False)
class ShardMap:
    """The shards of one root.

    Attributes:
        bundle_id: of the bundle that was sharded.
        bounds: (S + 1,) int64 from 0 to the number of items; shard s holds the positions `[bounds[s], bounds[s + 1])`.
    """

    bundle_id: str
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def to_json(self) -> dict[str, object]:
        return {"bundle_id": self.bundle_id, "bounds": self.bounds.tolist()}

    @classmethod
    def read(cls, files: BundleFiles, n_items: int) -> Self | None:
        """That of a root; None for a bundle that is not sharded.

        Raises:
            BundleError: it does not divide the items.
        """
        if layout.SHARDS not in files.manifest.files:
            return None
        data = files.json(layout.SHARDS)
        try:
            bundle_id, bounds = data["bundle_id"], np.array(data["bounds"], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise files.error(layout.SHARDS, f"is no shard map ({error!r})") from error
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] or bounds[-1] != n_items or (np.diff(bounds) <= 0).any():
            raise files.error(layout.SHARDS, f"has the bounds {bounds.tolist()}, which do not rise from 0 to the "
                                             f"{n_items} items")
        return cls(str(bundle_id), bounds)
