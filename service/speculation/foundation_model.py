"""A foundation model: a bundle with one more graph, which returns pairs' logits and interaction embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import graphs, layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.live.snapshot import Snapshot
from index_store.search.scoring import BLOCK
from service.contract.query import Query
from service.retrieval.onnx_towers import DenseRun, open_session
from service.retrieval.retriever import Retriever


class Member:
    """One run of a foundation model, as a bundle.

    Args:
        opened: the bundle.
        run: how dense layers are computed.

    Attributes:
        model: hash of its weights.
        snapshot: what is known of users and ads; the follower replaces it.
        log_id: of the change log, as the bundle names it.

    Raises:
        BundleError: the bundle has no graph of a foundation model, or one that cannot be loaded.
    """

    def __init__(self, opened: Bundle, run: DenseRun) -> None:
        files, dims, content = opened.files, opened.manifest.dims, opened.content
        if layout.FOUNDATION not in opened.manifest.files:
            raise BundleError(files.folder, layout.FOUNDATION, "is missing, so this is not a foundation model",
                              "export its run again with --as-foundation")
        named = files.json(layout.FOUNDATION)
        try:
            self.model, width = str(named["model"]), int(named["width"])
        except (TypeError, KeyError, ValueError) as error:
            raise files.error(layout.FOUNDATION, f"does not hold the hash and width of a model ({error!r})") from error
        self._content, self._tasks, self.log_id = content, len(opened.manifest.tasks), opened.manifest.change_log_id
        self._retriever = Retriever(opened, dense=run)
        self.snapshot: Snapshot = self._retriever.sealed
        self._session = open_session(
            files, layout.PAIR_EMBEDDING, run.threads,
            {graphs.USER_EMBEDDING: dims["user_embedding"], graphs.ITEM_EMBEDDINGS: opened.manifest.levels[-1].width,
             graphs.INTERACTION: dims["interaction"]}, {graphs.PAIR_OUTPUTS: self._tasks + width},
            (graphs.ITEM_EMBEDDINGS,) if content.embeddings[-1].dtype == np.float16 else ())

    @property
    def item_ids(self) -> NDArray[np.bytes_]:
        """Of its ads, by row."""
        return self._content.encoder.item_ids

    def close(self) -> None:
        """Ends its threads."""
        self._retriever.close()

    def outputs(self, query: Query, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (C, T) without what context adds, and interaction embeddings (C, H) of ads.

        Args:
            query: names the user.
            rows: (C,) of the bundle's ads.
        """
        content, snapshot = self._content, self.snapshot
        user = self._retriever.query(self._retriever.encode(query, snapshot), snapshot=snapshot)
        positions = content.tree.position_of_row[rows].astype(np.int64)
        found = []
        for start in range(0, len(rows), BLOCK):
            items, interaction = self._retriever.scorer.gather(user, content.tree.depth, positions[start:start + BLOCK])
            found.append(self._session.run(None, graphs.scorer_inputs(user.embedding, items, interaction))[0])
        both = np.concatenate(found)
        return both[:, :self._tasks], both[:, self._tasks:]


@dataclass(frozen=True)
class FoundationModel:
    """One run or several, whose logits are averaged and whose interaction embeddings are joined.

    Attributes:
        members: at least one.
    """

    members: Sequence[Member]

    @property
    def model(self) -> str:
        """Hash of the weights of all members, as a served bundle names it."""
        return "+".join(member.model for member in self.members)

    def outputs(self, query: Query, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As of a member."""
        found = [member.outputs(query, rows) for member in self.members]
        return (np.mean([logits for logits, _ in found], axis=0, dtype=np.float32),
                np.concatenate([embeddings for _, embeddings in found], axis=1))

    def close(self) -> None:
        """Ends the threads of all members."""
        for member in self.members:
            member.close()
