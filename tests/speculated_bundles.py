"""The tiny bundle with what it takes to use the pairs of a foundation model, and that model's bundle."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from index_store.bundle import graphs, layout
from index_store.bundle.manifest import read_manifest
from index_store.bundle.speculation_files import write_speculation
from index_store.speculation.adapter import Adapter, Speculation
from index_store.speculation.pair_codes import PairCodes
from tests.resealed import reseal
from tests.tiny_bundle import DIM

MODEL, TASKS, COMPONENTS = "f0f0", 2, 3


def planted_speculation(model=MODEL):
    """Residuals in steps of a tenth; the rung of the pair adds them as they are, that of the user half of them."""
    random = np.random.default_rng(5)
    codes = PairCodes(np.zeros(DIM, np.float32), random.normal(size=(DIM, COMPONENTS)).astype(np.float32),
                      np.full(TASKS + COMPONENTS, 0.1, np.float32))
    weights = np.zeros((2, TASKS + COMPONENTS, TASKS), np.float32)
    weights[0, :TASKS], weights[1, :TASKS] = np.eye(TASKS), np.eye(TASKS) / 2
    return Speculation(model, codes, Adapter(weights, np.zeros((2, TASKS), np.float32)))


def write_speculated(source, target, speculation=None):
    """A copy of a tiny bundle that uses the pairs of MODEL."""
    return reseal(source, target, lambda writer: write_speculation(writer, speculation or planted_speculation()))


def write_foundation(source, target, model=MODEL):
    """A copy of a tiny bundle as a foundation model: its logits are products of user and item, plus 1 and 2.

    Its interaction embedding is the item's.
    """
    def change(writer):
        writer.json(layout.FOUNDATION, {"model": model, "width": DIM})
        features = read_manifest(source).dims["interaction"]
        nodes = [helper.make_node("Transpose", [graphs.USER_EMBEDDING], ["column"], perm=[1, 0]),
                 helper.make_node("MatMul", [graphs.ITEM_EMBEDDINGS, "column"], ["product"]),
                 helper.make_node("Add", ["product", "offsets"], ["logits"]),
                 helper.make_node("ReduceSum", [graphs.INTERACTION, "last"], ["sum"], keepdims=1),
                 helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
                 helper.make_node("Add", ["logits", "nothing"], ["all"]),
                 helper.make_node("Concat", ["all", graphs.ITEM_EMBEDDINGS], [graphs.PAIR_OUTPUTS], axis=1)]
        constants = {"offsets": np.array([[1, 2]], np.float32), "last": np.array([1], np.int64),
                     "zero": np.array([0], np.float32)}
        graph = helper.make_graph(
            nodes, "pair_embedding",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in ((graphs.USER_EMBEDDING, [1, DIM]), (graphs.ITEM_EMBEDDINGS, ["C", DIM]),
                                 (graphs.INTERACTION, ["C", features]))],
            [helper.make_tensor_value_info(graphs.PAIR_OUTPUTS, TensorProto.FLOAT, ["C", TASKS + DIM])],
            [numpy_helper.from_array(values, name) for name, values in constants.items()])
        model_file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        writer.path(layout.PAIR_EMBEDDING).write_bytes(model_file.SerializeToString())

    return reseal(source, target, change)
