"""The dense layers of a bundle as ONNX Runtime sessions on the CPU: user tower and scorers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from index_store.bundle import graphs, layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.features.tower_inputs import dense_width, table_sizes
from index_store.search.scoring import DenseLayers, Storage


class OnnxTowers:
    """Sessions of one bundle.

    Args:
        opened: the bundle.
        threads: threads of one call.

    Raises:
        BundleError: a graph cannot be loaded or its signature does not fit the manifest.
    """

    def __init__(self, opened: Bundle, threads: int) -> None:
        files, content, dims = opened.files, opened.content, opened.manifest.dims
        tables = table_sizes(content.encoder)[0]
        tower_input = (dense_width(content.encoder.spec, "user")
                       + sum(content.tables[name].shape[1] for name in tables))
        self._user_tower = _session(files, layout.USER_TOWER, threads, {graphs.USER_INPUT: tower_input},
                                    {graphs.USER_EMBEDDING: dims["user_embedding"]})
        half = (graphs.ITEM_EMBEDDINGS,) if content.embeddings[-1].dtype == np.float16 else ()
        width = {level.scorer: level.width for level in opened.manifest.levels}
        self.layers: tuple[DenseLayers, ...] = tuple(
            _dense_layers(_session(files, name, threads,
                                   {graphs.USER_EMBEDDING: dims["user_embedding"], graphs.ITEM_EMBEDDINGS: width[name],
                                    graphs.INTERACTION: dims["interaction"]},
                                   {graphs.LOGITS: len(opened.manifest.tasks)}, half))
            for name in opened.manifest.scorers)
        """The scorers' graphs, coarse to fine."""
        tower_input = (dense_width(content.encoder.spec, "item")
                       + sum(content.tables[name].shape[1] for name in table_sizes(content.encoder)[1]))
        self._item_tower = _session(files, layout.ITEM_TOWER, threads, {graphs.ITEM_INPUT: tower_input},
                                    {graphs.ITEM_EMBEDDING: content.embeddings[-1].shape[1]})

    def user_tower(self, user_input: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D_in) float32 -> user embeddings (N, Du) float32."""
        embedding: NDArray[np.float32] = self._user_tower.run(None, {graphs.USER_INPUT: user_input})[0]
        return embedding

    def item_tower(self, item_input: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D_in) float32 -> what the scorer reads of items (N, Di) float32."""
        embedding: NDArray[np.float32] = self._item_tower.run(None, {graphs.ITEM_INPUT: item_input})[0]
        return embedding


def _dense_layers(session: onnxruntime.InferenceSession) -> DenseLayers:
    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, graphs.scorer_inputs(user, items, interaction))[0]
        return logits

    return run


def _session(files: BundleFiles, name: str, threads: int, inputs: Mapping[str, int],
             outputs: Mapping[str, int], half: Sequence[str] = ()) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(files.path(name)), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common class
        reason = f"is not a graph that ONNX Runtime {onnxruntime.__version__} can load ({error})"
        raise files.error(name, reason) from error
    for kind, expected, found in (("input", inputs, session.get_inputs()), ("output", outputs, session.get_outputs())):
        shapes = {node.name: node.shape[-1] for node in found if len(node.shape) == 2
                  and node.type == ("tensor(float16)" if node.name in half else "tensor(float)")}
        # A width that the graph leaves open is a string, and every width fits it.
        if set(shapes) != set(expected) or len(found) != len(expected) or any(
                isinstance(shapes[n], int) and shapes[n] != width for n, width in expected.items()):
            actual = {node.name: (node.type, node.shape) for node in found}
            raise files.error(name, f"has the {kind}s {actual}, float32 matrices of width {expected} were expected")
    return session
