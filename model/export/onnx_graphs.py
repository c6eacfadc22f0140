"""ONNX graphs of the dense layers: their export, and functions that run them in a search."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import opset18
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from index_store.bundle import graphs, layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.folded_files import read_kernels
from index_store.compiled.library import library
from index_store.declaration.spec import FeatureSpec
from index_store.features.interaction import feature_names
from index_store.features.tower_inputs import dense_width
from index_store.search.scoring import DenseLayers, Storage
from model.config.errors import ConfigError
from model.network.folding import FoldedNetwork
from model.network.monn import MoNN
from model.network.pair_embedding import PairEmbedding


def onnx_layers(path: Path) -> DenseLayers:
    """The scorer graph as a function, on one thread."""
    session = _session(path)

    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> Any:
        return session.run(None, graphs.scorer_inputs(user, items, interaction))[0]

    return run


def bundle_layers(files: BundleFiles) -> list[DenseLayers]:
    """The scorers of a bundle, coarse to fine: the compiled kernel where it can run, or else the graph."""
    return [kernel or onnx_layers(files.path(name))
            for name, kernel in zip(files.manifest.scorers, read_kernels(files, library()), strict=True)]


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_user_tower(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The user tower's graph as a function (N, D_in) -> (N, Du), on one thread."""
    session = _session(path)
    return lambda user_input: session.run(None, {graphs.USER_INPUT: user_input})[0]


_operator_library = cache(ONNXRegistry.from_torchlib)


@contextmanager
def _one_operator_library() -> Iterator[None]:
    """Within the block torch.onnx parses its library of operators at most once a process, and not once a graph.

    Parsing takes about half of the time of an export.
    """
    parse = ONNXRegistry.__dict__["from_torchlib"]
    ONNXRegistry.from_torchlib = staticmethod(_operator_library)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = parse  # type: ignore[method-assign]


class _Part(nn.Module):
    """One side's towers, of all layers, followed by the part of the folded network that depends on them alone."""

    def __init__(self, model: MoNN, folded: FoldedNetwork, side: Literal["user", "item"]) -> None:
        super().__init__()
        self.model, self.folded, self.side = model, folded, side

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        layers = [self.model.layer(at) for at in range(len(self.model.layers))]
        if self.side == "user":
            return self.folded.user_part(torch.cat([layer.embed_users(inputs) for layer in layers], dim=1))
        return self.folded.item_part(torch.cat([layer.embed_items(inputs) for layer in layers], dim=1))


@_one_operator_library()
def write_graphs(writer: BundleWriter, model: MoNN, folded: FoldedNetwork, spec: FeatureSpec, half: bool) -> None:
    """Exports user tower, item tower and scorers of a model in eval mode on the CPU.

    The graph of the item tower computes the item part of the items' own layer.

    Args:
        writer: of the bundle.
        model: whose towers to export.
        folded: its folded form.
        spec: declares the towers' inputs.
        half: whether the scorer reads item parts as float16.
    """
    users = torch.zeros(2, model.user_tables.width + dense_width(spec, "user"))
    items = torch.zeros(2, model.item_tables.width + dense_width(spec, "item"))
    user_tower, item_tower = _Part(model, folded, "user"), _Part(model, folded, "item")
    _to_onnx(user_tower, (users,), [graphs.USER_INPUT], graphs.USER_EMBEDDING, writer.path(layout.USER_TOWER))
    _to_onnx(item_tower, (items,), [graphs.ITEM_INPUT], graphs.ITEM_EMBEDDING, writer.path(layout.ITEM_TOWER))
    with torch.no_grad():
        user = user_tower(users)[:1]
    for at, scorer in enumerate(folded.scorers):
        with torch.no_grad():
            item = folded.item_part_of(at, torch.zeros(3, model.item_width))
        pairs = (user, item.half() if half else item, torch.zeros(3, len(feature_names(spec))))
        _to_onnx(scorer, pairs, list(graphs.SCORER_INPUTS), graphs.LOGITS, writer.path(layout.scorer(at + 1)),
                 fixed=(graphs.USER_EMBEDDING,))


@_one_operator_library()
def write_pair_embedding(writer: BundleWriter, model: MoNN, folded: FoldedNetwork, spec: FeatureSpec,
                         half: bool) -> None:
    """Exports the graph of a foundation model beside its scorers; arguments as for `write_graphs`.

    Raises:
        ConfigError: its over-arch is not Wukong.
    """
    graph = PairEmbedding(model).eval()
    with torch.no_grad():
        user = folded.user_part(torch.zeros(1, sum(model.user_widths)))
        item = folded.item_part(torch.zeros(3, model.item_width))
    pairs = (user, item.half() if half else item, torch.zeros(3, len(feature_names(spec))))
    _to_onnx(graph, pairs, list(graphs.SCORER_INPUTS), graphs.PAIR_OUTPUTS, writer.path(layout.PAIR_EMBEDDING),
             fixed=(graphs.USER_EMBEDDING,))


def _cast(tensor: Any, dtype: int) -> Any:
    return opset18.Cast(tensor, to=dtype)


def _to_onnx(module: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], output: str, path: Path,
             fixed: tuple[str, ...] = ()) -> None:
    rows = torch.export.Dim("rows")
    shapes = tuple(None if name in fixed else {0: rows} for name in inputs)
    # The exporter warns about operators of packages that are not used here.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
        # torch.onnx would replace composite operators, by two more traces, which take more than half of an export. It
        # knows those of this network as they are, but for the cast.
        traced.run_decompositions = lambda *_: traced
        program = torch.onnx.export(traced, input_names=inputs, output_names=[output], dynamo=True,
                                    dynamic_shapes=shapes, verbose=False,
                                    custom_translation_table={torch.ops.aten.to.dtype: _cast})
    if program is None:
        raise ConfigError(f"torch.onnx wrote no graph for {path.name}; check the installed torch and onnxscript")
    program.save(path, external_data=False)
