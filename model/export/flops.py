"""Arithmetic and memory traffic of an ONNX graph, counted from the shapes of a real call.

A matrix product or an Einsum over s terms counts 2 s operations an output, a sum along an axis one for each input, a
layer norm 8 an element, every other operator one an output element; operators that only move or rename data count
nothing. A constant of the graph counts as an input wherever it is used: nothing is assumed to stay in a register.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

MOVES = {"Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Pad", "Range",
         "Reshape", "Shape", "Slice", "FoldedNetwork", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
SUMS = {"ReduceMax", "ReduceMean", "ReduceSum", "ReduceSumSquare"}
LAYER_NORM = 8


@dataclass(frozen=True)
class Work:
    """Cost of a call: floating-point operations, and bytes that the operators read and write."""

    flops: int
    bytes: int


def count(path: Path, inputs: Mapping[str, NDArray[Any]]) -> Work:
    """Counts the work of one call.

    Args:
        path: the graph.
        inputs: of the call; their values do not matter.
    """
    model = onnx.load(path)
    shapes = _shapes(model, inputs)
    sizes = {name: int(np.prod(shape)) * width for name, (shape, width) in shapes.items()}
    flops = moved = 0
    for node in model.graph.node:
        flops += _flops(node, {name: shape for name, (shape, _) in shapes.items()})
        if node.op_type not in MOVES:
            moved += sum(sizes[name] for name in (*node.input, *node.output) if name)
    return Work(flops, moved)


def _flops(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    written = sum(int(np.prod(shapes[name])) for name in node.output if name)
    read = int(np.prod(shapes[node.input[0]])) if node.input else 0
    if node.op_type in MOVES:
        return 0
    if node.op_type == "MatMul":
        return 2 * written * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
        terms = shapes[node.input[0]][0 if transposed else -1]
        return 2 * written * terms + (written if len(node.input) > 2 else 0)
    if node.op_type == "Einsum":
        return 2 * _einsum_terms(node, shapes)
    if node.op_type == "LayerNormalization":
        return LAYER_NORM * read
    return read if node.op_type in SUMS else written


def _einsum_terms(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Number of products that an Einsum forms: the product of the sizes of all its indices."""
    equation = next(entry.s for entry in node.attribute if entry.name == "equation").decode().replace(" ", "")
    size: dict[str, int] = {}
    for letters, name in zip(equation.split("->")[0].split(","), node.input, strict=True):
        for letter, length in zip(letters, shapes[name], strict=True):
            size[letter] = max(length, size.get(letter, 1))
    return int(np.prod(list(size.values())))


def _shapes(model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and bytes of an element of every array in the graph, found by running it with all of them as outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = {name: (np.shape(value), np.asarray(value).itemsize)
             for name, value in zip(names, session.run(names, dict(inputs)), strict=True)}
    found |= {name: (value.shape, value.itemsize) for name, value in inputs.items()}
    return found | {constant.name: (tuple(constant.dims), onnx.numpy_helper.to_array(constant).itemsize)
                    for constant in model.graph.initializer}
