"""Makes the pairs of a user: the served bundle's beam proposes ads, and the foundation model is asked about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.live.snapshot import Snapshot
from index_store.search.ranking import first_task_weights
from index_store.speculation.user_pairs import UserPairs
from service.contract.query import Query, SearchOptions
from service.retrieval.onnx_towers import DenseRun
from service.retrieval.retriever import Retriever
from service.retrieval.speculated_pairs import PairKeys
from service.settings import Settings
from service.shards.shard_access import ShardAccess
from service.speculation.foundation_model import FoundationModel, Member


class PairMaker:
    """Of one bundle and its foundation model.

    Args:
        opened: the served bundle.
        foundation: the bundles of the foundation model, one for each of its runs.
        settings: of the service.
        pairs: most pairs of a user.
        lives: seconds that they are used.

    Attributes:
        snapshot: what is known of users and ads; the follower replaces it.
        foundation: the foundation model, with a snapshot of its own.
        keys: in Redis.
        bundle_id, model: of the bundle, and hash of the foundation model.
        log_id: of the change log, as the bundle names it.

    Raises:
        BundleError: the served bundle uses no foundation model or another one, or one of the two is broken.
    """

    def __init__(self, opened: Bundle, foundation: Sequence[Bundle], settings: Settings, pairs: int,
                 lives: int) -> None:
        speculation = opened.content.speculation
        if speculation is None:
            raise BundleError(opened.files.folder, layout.SPECULATION, "is missing, so the bundle uses no stored pairs",
                              "export its run again with --foundation")
        dense = DenseRun(settings.kernel, settings.onnx_threads)
        self.foundation = FoundationModel([Member(one, dense) for one in foundation])
        model, folders = self.foundation.model, ", ".join(str(one.files.folder) for one in foundation)
        if speculation.foundation != model:
            raise BundleError(opened.files.folder, layout.SPECULATION,
                              f"has the autoencoder of foundation model {speculation.foundation}, but "
                              f"{folders} is foundation model {model}",
                              "name the foundation model that the bundle was exported with, or export it with this one")
        own = opened.content.encoder.item_ids
        for one in foundation:
            ids = one.content.encoder.item_ids
            if not np.array_equal(own, ids):
                raise BundleError(one.files.folder, layout.ITEM_IDS, f"has {len(ids):,} ads that are not the "
                                  f"{len(own):,} of {opened.files.folder}", "export both from runs on the same data")
        self._codes, self._pairs, self._lives = speculation.codes, pairs, lives
        self._retriever = Retriever(opened, dense=dense, shards=ShardAccess.of(settings))
        self._beam_width, self._n_items = opened.manifest.search.beam_width, opened.content.tree.n_items
        self._position_of_row = opened.content.tree.position_of_row
        self.snapshot: Snapshot = self._retriever.sealed
        self.bundle_id, self.model, self.log_id = opened.bundle_id, model, opened.manifest.change_log_id
        self._weights, self.keys = first_task_weights(len(opened.manifest.tasks)), PairKeys.of(opened.bundle_id)

    @classmethod
    def open(cls, served: Path, foundation: Sequence[Path], settings: Settings, pairs: int, lives: int) -> Self:
        """Opens all bundles, and verifies those that no service has; raises as the constructor."""
        return cls(Bundle.open(served, verify=False), [Bundle.open(one) for one in foundation], settings, pairs, lives)

    def close(self) -> None:
        """Ends all threads."""
        self._retriever.close()
        self.foundation.close()

    def made(self, user_id: bytes) -> UserPairs | None:
        """The pairs of a user; None of one who is unknown, or has no ad to be shown."""
        snapshot = self.snapshot
        query = Query(user_id=user_id, top_k=self._pairs, task_weights=self._weights)
        user = self._retriever.encode(query, snapshot)
        if user.kind == "unknown":
            return None
        options = SearchOptions(top_k=query.top_k, beam_width=self._beam_width, exact=False,
                                task_weights=query.task_weights,
                                excluded=self._retriever.excluded(query, user, snapshot))
        found = self._retriever.search(user, options, snapshot=snapshot)
        of_bundle = found.rows < self._n_items  # added ads are not of the foundation model
        rows, served = found.rows[of_bundle], found.logits[of_bundle]
        if not len(rows):
            return None
        shift = self._retriever.query(user, snapshot=snapshot).shift
        logits, embeddings = self.foundation.outputs(query, rows)
        codes = self._codes.encoded(logits - (served if shift is None else served - shift), embeddings)
        positions = self._position_of_row[rows]
        order = np.argsort(positions)
        return UserPairs(positions[order].astype(np.uint32), codes[order], time.time(), self._lives)
