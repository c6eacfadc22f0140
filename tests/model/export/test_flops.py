"""Work of a graph, counted by hand."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.export.flops import LAYER_NORM, count


def graph(tmp_path, nodes, constants, out):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])]
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, [
        numpy_helper.from_array(value, name) for name, value in constants.items()]),
        opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def test_products_sums_and_moves_are_counted_as_documented(tmp_path):
    weights = np.ones((4, 5), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"]),
             helper.make_node("Transpose", ["z"], ["t"], perm=[1, 0]),
             helper.make_node("ReduceSum", ["t"], ["s"], keepdims=0)]
    work = count(graph(tmp_path, nodes, {"w": weights}, "s"), {"x": np.zeros((3, 4), np.float32)})
    assert work.flops == 2 * 3 * 5 * 4 + 15 + 15  # product, relu, sum; the transposition moves data only
    assert work.bytes == 4 * ((12 + 20 + 15) + (15 + 15) + (15 + 1))


def test_a_layer_norm_counts_eight_an_element(tmp_path):
    ones = np.ones(4, np.float32)
    nodes = [helper.make_node("LayerNormalization", ["x", "a", "b"], ["y"])]
    work = count(graph(tmp_path, nodes, {"a": ones, "b": ones}, "y"), {"x": np.zeros((3, 4), np.float32)})
    assert work.flops == LAYER_NORM * 12
