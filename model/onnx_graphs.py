"""The dense layers as ONNX graphs, and both forms of them as functions that the search can call."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from index_store import bundle
from index_store.bundle import BundleWriter
from index_store.features import FeatureSpec
from index_store.postings import feature_names
from index_store.scoring import DenseLayers, Storage
from model.config import ConfigError
from model.monn import MoNN, Scorer
from model.split import SplitScorer


def onnx_layers(path: Path) -> DenseLayers:
    """The scorer graph as a function, on one thread."""
    session = _session(path)

    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> Any:
        return session.run(None, {"user_embedding": user, "item_embeddings": items, "interaction": interaction})[0]

    return run


def torch_layers(model: MoNN) -> DenseLayers:
    """The torch model's interaction tower and over-arch as a function."""
    scorer = Scorer(model).eval()

    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = scorer(torch.from_numpy(user), torch.from_numpy(items),
                                                 torch.from_numpy(interaction)).numpy()
        return logits

    return run


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_user_tower(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The user tower's graph as a function (N, D_in) -> (N, Du), on one thread."""
    session = _session(path)
    return lambda user_input: session.run(None, {"user_input": user_input})[0]


class _Part(nn.Module):
    """A tower, and the part of the split scorer that depends on it alone."""

    def __init__(self, tower: nn.Module, part: Callable[[torch.Tensor], torch.Tensor], scorer: SplitScorer) -> None:
        super().__init__()
        self.tower, self.part, self.scorer = tower, part, scorer

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.part(self.tower(inputs))


def write_graphs(writer: BundleWriter, model: MoNN, scorer: SplitScorer, spec: FeatureSpec, half: bool) -> None:
    """Exports user tower, item tower and scorer of a model in eval mode on the CPU.

    Args:
        writer: of the bundle.
        model: whose towers to export.
        scorer: its split form.
        spec: declares the towers' inputs.
        half: whether the scorer reads item parts as float16.
    """
    users = torch.zeros(2, model.user_tables.width + len(spec.fields("user", "dense")))
    items = torch.zeros(2, model.item_tables.width + len(spec.fields("item", "dense")))
    towers = [_Part(model.user_tower, scorer.user_part, scorer), _Part(model.item_tower, scorer.item_part, scorer)]
    _to_onnx(towers[0], (users,), ["user_input"], "user_embedding", writer.path(bundle.USER_TOWER))
    _to_onnx(towers[1], (items,), ["item_input"], "item_embedding", writer.path(bundle.ITEM_TOWER))
    with torch.no_grad():
        user, item = towers[0](users)[:1], towers[1](items)[:1].repeat(3, 1)
    pairs = (user, item.half() if half else item, torch.zeros(3, len(feature_names(spec))))
    _to_onnx(scorer, pairs, ["user_embedding", "item_embeddings", "interaction"], "logits",
             writer.path(bundle.SCORER), fixed=("user_embedding",))


def _to_onnx(module: nn.Module, example: tuple[torch.Tensor, ...], inputs: list[str], output: str, path: Path,
             fixed: tuple[str, ...] = ()) -> None:
    rows = torch.export.Dim("rows")
    shapes = tuple(None if name in fixed else {0: rows} for name in inputs)
    # The exporter warns about operators of packages that we do not use.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, example, input_names=inputs, output_names=[output], dynamo=True,
                                    dynamic_shapes=shapes, verbose=False)
    if program is None:
        raise ConfigError(f"torch.onnx wrote no graph for {path.name}; check the installed torch and onnxscript")
    program.save(path, external_data=False)
