"""The dense layers of a bundle: towers as ONNX Runtime sessions on the CPU, scorers as these or compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from index_store.bundle import graphs, layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.bundle.folded_files import read_kernels
from index_store.bundle.shard import Shard
from index_store.compiled.library import library
from index_store.features.tower_inputs import dense_width, table_sizes
from index_store.kernel.pair_kernel import PairKernel
from index_store.search.scoring import DenseLayers, Storage


@dataclass(frozen=True)
class DenseRun:
    """How dense layers are computed.

    Attributes:
        kernel: what computes scorers: `compiled`, as far as it can, or `onnx` alone.
        threads: of one call of ONNX Runtime.
    """

    kernel: Literal["compiled", "onnx"] = "compiled"
    threads: int = 1


COMPILED = DenseRun()


class OnnxTowers:
    """Sessions and kernels of one bundle.

    Args:
        opened: the bundle.
        run: how they are computed.

    Raises:
        BundleError: a graph cannot be loaded, or its signature or a scorer's arrays do not fit the manifest.
    """

    def __init__(self, opened: Bundle, run: DenseRun) -> None:
        threads = run.threads
        files, content, dims = opened.files, opened.content, opened.manifest.dims
        tables = table_sizes(content.encoder)[0]
        tower_input = (dense_width(content.encoder.spec, "user")
                       + sum(content.tables[name].shape[1] for name in tables))
        self._user_tower = open_session(files, layout.USER_TOWER, threads, {graphs.USER_INPUT: tower_input},
                                        {graphs.USER_EMBEDDING: dims["user_embedding"]})
        kernels: Sequence[PairKernel | None] = [None] * len(opened.manifest.scorers)
        if run.kernel == "compiled":
            kernels = read_kernels(files, library())
        self.layers: tuple[DenseLayers, ...] = tuple(
            kernel or _scorer(files, name, content.embeddings[-1].dtype, threads)
            for name, kernel in zip(opened.manifest.scorers, kernels, strict=True))
        """The scorers, coarse to fine."""
        self.runs = _described(kernels, run)
        """One line for people: what computes the scorers and, where that is not the kernel, why."""
        tower_input = (dense_width(content.encoder.spec, "item")
                       + sum(content.tables[name].shape[1] for name in table_sizes(content.encoder)[1]))
        self._item_tower = open_session(files, layout.ITEM_TOWER, threads, {graphs.ITEM_INPUT: tower_input},
                                        {graphs.ITEM_EMBEDDING: content.embeddings[-1].shape[1]})

    def user_tower(self, user_input: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D_in) float32 -> user embeddings (N, Du) float32."""
        embedding: NDArray[np.float32] = self._user_tower.run(None, {graphs.USER_INPUT: user_input})[0]
        return embedding

    def item_tower(self, item_input: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D_in) float32 -> what the scorer reads of items (N, Di) float32."""
        embedding: NDArray[np.float32] = self._item_tower.run(None, {graphs.ITEM_INPUT: item_input})[0]
        return embedding


def _described(kernels: Sequence[PairKernel | None], run: DenseRun) -> str:
    if all(kernels):
        return library().note
    if run.kernel == "onnx":
        return "ONNX Runtime: RETRIEVAL_KERNEL says so"
    if library().functions is None:
        return f"ONNX Runtime: {library().note}"
    what = f"{library().note}, and ONNX Runtime" if any(kernels) else "ONNX Runtime"
    return f"{what}: the bundle has no arrays for the kernel, being of an older format or another over-arch"


def shard_layer(shard: Shard, run: DenseRun) -> DenseLayers:
    """The scorer of a shard's items.

    Raises:
        BundleError: its graph cannot be loaded, or graph or arrays do not fit the manifest.
    """
    kernel = read_kernels(shard.files, library())[0] if run.kernel == "compiled" else None
    return kernel or _scorer(shard.files, layout.scorer(1), shard.embeddings.dtype, run.threads)


def _scorer(files: BundleFiles, name: str, stored: np.dtype[Any], threads: int) -> DenseLayers:
    """The graph of a scorer, which reads embeddings as they are stored."""
    manifest, dims = files.manifest, files.manifest.dims
    half = (graphs.ITEM_EMBEDDINGS,) if stored == np.float16 else ()
    width = {level.scorer: level.width for level in manifest.levels}[name]
    inputs = {graphs.USER_EMBEDDING: dims["user_embedding"], graphs.ITEM_EMBEDDINGS: width,
              graphs.INTERACTION: dims["interaction"]}
    return _dense_layers(open_session(files, name, threads, inputs, {graphs.LOGITS: len(manifest.tasks)}, half))


def _dense_layers(session: onnxruntime.InferenceSession) -> DenseLayers:
    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, graphs.scorer_inputs(user, items, interaction))[0]
        return logits

    return run


def open_session(files: BundleFiles, name: str, threads: int, inputs: Mapping[str, int],
                 outputs: Mapping[str, int], half: Sequence[str] = ()) -> onnxruntime.InferenceSession:
    """A graph of a bundle, checked.

    Args:
        files: of the bundle.
        name: of the graph.
        threads: of one call.
        inputs, outputs: width of each, all of them matrices.
        half: inputs of float16, all others being float32.

    Raises:
        BundleError: the graph cannot be loaded, or has other inputs or outputs.
    """
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
