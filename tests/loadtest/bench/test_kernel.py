"""The kernel's figures on a graph whose arithmetic is counted by hand, and on the tiny bundle."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from index_store.bundle.bundle import Bundle
from index_store.bundle.folded_files import write_folded
from loadtest.__main__ import main
from loadtest.bench.kernel import kernel, markdown
from model.export.flops import LAYER_NORM, count
from tests.index_store.kernel.plain_scorer import compiled, random_weights
from tests.resealed import reseal
from tests.tiny_bundle import DIM


def write_graph(path, nodes, inputs, constants):
    graph = helper.make_graph(
        nodes, "counted", [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(values.astype(np.float32), n) for n, values in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_arithmetic_is_counted_by_the_shapes_that_operators_produce(tmp_path):
    nodes = [helper.make_node("Einsum", ["x", "u"], ["e"], equation="nd,kd->nk"),  # 2 x 5 x 4 x 3
             helper.make_node("Gemm", ["e", "w", "b"], ["g"], transB=1),  # 2 x 5 x 6 x 4, and 5 x 6 for the bias
             helper.make_node("Relu", ["g"], ["r"]),  # 5 x 6
             helper.make_node("LayerNormalization", ["r", "s"], ["l"]),  # 8 x 5 x 6
             helper.make_node("Transpose", ["l"], ["t"], perm=[1, 0]),
             helper.make_node("MatMul", ["l", "t"], ["m"]),  # 2 x 5 x 5 x 6
             helper.make_node("ReduceSum", ["m"], ["sum"], keepdims=0)]  # 5 x 5
    write_graph(tmp_path / "graph.onnx", nodes, {"x": ["N", 3], "u": [4, 3]},
                {"w": np.ones((6, 4)), "b": np.ones(6), "s": np.ones(6)})
    work = count(tmp_path / "graph.onnx", {"x": np.ones((5, 3), np.float32), "u": np.ones((4, 3), np.float32)})
    assert work.flops == 120 + 240 + 30 + 30 + LAYER_NORM * 30 + 300 + 25
    elements = (15 + 12 + 20) + (20 + 24 + 6 + 30) + 60 + (30 + 6 + 30) + (30 + 30 + 25) + (25 + 1)
    assert work.bytes == 4 * elements


@pytest.mark.parametrize(("bundle", "levels"), [("tiny_bundle", [[1, 2, 3]]), ("stacked_bundle", [[1], [2, 3]])])
def test_kernel_reports_each_block_of_each_scorer_against_the_peak(bundle, levels, request, monkeypatch):
    monkeypatch.setattr("loadtest.bench.kernel.MATRICES", (512,))
    folder = request.getfixturevalue(bundle)
    report = kernel(folder, blocks=(64, 128, 512), seconds=0.1)
    manifest = Bundle.open(folder).manifest
    features, tasks = manifest.dims["interaction"], len(manifest.tasks)
    assert [scorer["levels"] for scorer in report["scorers"]] == levels
    assert [scorer["name"] for scorer in report["scorers"]] == list(manifest.scorers)
    assert report["searches"] is None
    assert report["runs"].startswith("ONNX Runtime")
    for scorer in report["scorers"]:
        # dot product, its weights, the interaction's product, two sums; see tests/tiny_bundle.py
        assert scorer["flops_per_pair"] == 2 * DIM + 2 * tasks + 2 * features * tasks + 2 * tasks
        assert scorer["stored_bytes_per_pair"] == 4 * (DIM + features + tasks)
        assert scorer["compiled"] is scorer["compiled_flops_per_pair"] is None
        assert [row["pairs"] for row in scorer["blocks"]] == [64, 128, 512]
        assert [row["joining_gain"] is None for row in scorer["blocks"]] == [False, True, True]
        for row in scorer["blocks"]:
            assert 0 < row["gflops"] < report["peak_gflops"]
            assert row["share_of_peak"] == pytest.approx(row["gflops"] / report["peak_gflops"])


def test_graph_and_compiled_kernel_are_timed_side_by_side_where_the_bundle_has_both(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("loadtest.bench.kernel.MATRICES", (512,))
    monkeypatch.setattr("loadtest.bench.kernel.ROUNDS", 1)
    features = Bundle.open(tiny_bundle).manifest.dims["interaction"]
    weights = random_weights(np.random.default_rng(0), dim=2, user_tokens=2, item_tokens=2, tokens=2, features=features)
    reseal(tiny_bundle, tmp_path / "folded", lambda writer: write_folded(writer, 1, weights))
    report = kernel(tmp_path / "folded", blocks=(64, 128), seconds=0.1)
    [scorer], searches = report["scorers"], report["searches"]
    # interaction tower, its two outputs, products with the FM around them, the tokens' sum and the head
    assert scorer["compiled_flops_per_pair"] == 2 * (features * 32 + 32 * 4 + 9 * 2 + 9 * 64 + 64 * 4 + 4 * 4)
    assert [row["pairs"] for row in scorer["compiled"]] == [64, 128]
    assert report["runs"] == compiled().note
    assert searches["gain"] == searches["graph_ms"] / searches["compiled_ms"] > 0
    assert min(searches["graph_of_scorer"], searches["compiled_of_scorer"]) > 1
    assert "times as fast" in markdown(report)


def test_kernel_says_why_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["loadtest", "kernel", "--bundle", str(tmp_path / "nowhere")])
    assert main() == 1
    assert "is not a folder" in capsys.readouterr().err


def test_kernel_writes_what_it_prints(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("loadtest.bench.kernel.MATRICES", (64,))
    monkeypatch.setattr("sys.argv", ["loadtest", "kernel", "--bundle", str(tiny_bundle), "--seconds", "0.1", "--out",
                                     str(tmp_path / "o")])
    assert main() == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert json.loads((tmp_path / "o/kernel.json").read_text()) == json.loads(last)
    assert (tmp_path / "o/kernel.md").read_text().splitlines() == lines
