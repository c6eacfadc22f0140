"""`python -m loadtest kernel`: time and FLOPS of each scorer's graph, against the peak of this machine.

    python -m loadtest kernel --bundle bundles/mine --out kernel

A bundle has one scorer, a stack one per layer. Everything runs on one thread. The peak is the fastest product of two
square float32 matrices in the same runtime and the same run; the work of a graph is counted from its operators.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from index_store.bundle.bundle import Bundle
from index_store.bundle.graphs import scorer_inputs
from index_store.bundle.manifest import BundleError
from index_store.search.scoring import DenseLayers
from loadtest.bench.report import table
from model.export.flops import Work, count
from model.progress.bars import Bar
from service.retrieval.retriever import Retriever

BLOCKS = tuple(1 << power for power in range(6, 15))
MATRICES = (512, 1024, 2048)
"""Sides of the square matrices whose product gives the peak."""

SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="bundle whose scorers are measured")
    parser.add_argument("--out", type=Path, help="folder for kernel.json and kernel.md (default: not written)")
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="about how long to time the blocks (default %(default)g)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object on the last line. Exit status: 0 fine, 1 the bundle cannot be used."""
    try:
        report = kernel(args.bundle, seconds=args.seconds)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "kernel.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        (args.out / "kernel.md").write_text(markdown(report) + "\n")
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def kernel(folder: Path, blocks: Sequence[int] = BLOCKS, seconds: float = SECONDS) -> dict[str, Any]:
    """Measures the graphs that score the nodes and ads of a bundle.

    Args:
        folder: the bundle.
        blocks: pairs per call, ascending.
        seconds: about how long to time them, all scorers together.

    Returns:
        `peak_gflops`; `scorers`: an entry each, coarse to fine, with `name` (the file), `levels` (those it scores),
        `flops_per_pair`, `flops_per_call` (the fixed cost of a call), `stored_bytes_per_pair`: gathered for a pair and
        returned as its logits, `moved_bytes_per_pair`: read and written by all operators if none is fused; and
        `blocks`: an entry each with `pairs`, `ms`, `us_per_pair`, `gflops`, `share_of_peak` and `joining_gain`: the
        time of two calls of this size over that of one call of twice the size, an upper bound on the gain of joining
        the blocks of two requests; None if the next block is not twice as large.

    Raises:
        BundleError: it cannot be opened.
    """
    opened = Bundle.open(folder)
    names, layers = opened.manifest.scorers, Retriever(opened).scorer.layers
    peak = max(_peak(side) for side in Bar(MATRICES, desc="peak", unit="product"))
    return {"peak_gflops": peak, "scorers": [_measured(opened, name, layer, blocks, seconds / len(names), peak)
                                             for name, layer in zip(names, layers, strict=True)]}


def _measured(opened: Bundle, name: str, layer: DenseLayers, blocks: Sequence[int], seconds: float,
              peak: float) -> dict[str, Any]:
    """The report's entry for one scorer."""
    levels = [entry.level for entry in opened.manifest.levels if entry.scorer == name]
    inputs = {pairs: _inputs(opened, levels[-1], pairs) for pairs in blocks}
    graph = opened.files.path(name)
    small, large = (count(graph, _named(_inputs(opened, levels[-1], pairs))) for pairs in (64, 128))
    flops = (large.flops - small.flops) / 64
    once = small.flops - 64 * flops
    times = _medians([partial(layer, *given) for given in inputs.values()], seconds)
    rows = []
    for at, (pairs, taken) in enumerate(zip(blocks, times, strict=True)):
        gflops = (once + pairs * flops) / taken / 1e9
        joined = times[at + 1] if at + 1 < len(blocks) and blocks[at + 1] == 2 * pairs else None
        rows.append({"pairs": pairs, "ms": taken * 1e3, "us_per_pair": taken / pairs * 1e6, "gflops": gflops,
                     "share_of_peak": gflops / peak, "joining_gain": 2 * taken / joined if joined else None})
    _, items, interaction = inputs[blocks[0]]
    stored = (items.nbytes + interaction.nbytes) / blocks[0] + 4 * len(opened.manifest.tasks)
    return {"name": name, "levels": levels, "flops_per_pair": flops, "flops_per_call": once,
            "stored_bytes_per_pair": stored, "moved_bytes_per_pair": _moved(small, large), "blocks": rows}


def markdown(report: dict[str, Any]) -> str:
    """The report in Markdown, a table for each scorer."""
    return "\n\n".join([f"Peak of this machine on one thread: {report['peak_gflops']:.1f} GFLOPS.",
                        *map(_section, report["scorers"])])


def _section(scorer: dict[str, Any]) -> str:
    rows = [(f"{row['pairs']:,}", f"{row['ms']:.3f}", f"{row['us_per_pair']:.3f}", f"{row['gflops']:.1f}",
             f"{row['share_of_peak']:.1%}", f"{row['joining_gain']:.2f}" if row["joining_gain"] else "-")
            for row in scorer["blocks"]]
    return "\n".join([
        f"`{scorer['name']}` scores level {', '.join(map(str, scorer['levels']))}: "
        f"{scorer['flops_per_pair']:,.0f} FLOPs per pair and {scorer['flops_per_call']:,.0f} per call; "
        f"{scorer['stored_bytes_per_pair']:.0f} bytes gathered and returned per pair, "
        f"{scorer['moved_bytes_per_pair']:,.0f} moved by the operators if none is fused.", "",
        table(("pairs per call", "ms", "µs per pair", "GFLOPS", "of the peak", "gain of joining two"), rows)])


def _inputs(opened: Bundle, level: int,
            pairs: int) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]:
    """Random inputs of a level's scorer for one user and a number of pairs."""
    dims, random = opened.manifest.dims, np.random.default_rng(pairs)
    items = random.standard_normal((pairs, opened.manifest.levels[level - 1].width), np.float32)
    stored = items.astype(opened.content.embeddings[level - 1].dtype)
    return (random.standard_normal((1, dims["user_embedding"]), np.float32), stored,
            random.random((pairs, dims["interaction"]), np.float32))


def _named(inputs: tuple[NDArray[Any], ...]) -> dict[str, NDArray[Any]]:
    return scorer_inputs(*inputs)


def _moved(small: Work, large: Work) -> float:
    return (large.bytes - small.bytes) / 64


def _medians(calls: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Median seconds of each call; they alternate, so that a slow moment of the machine affects all alike.

    Each is first called once untimed, so that none pays for caches that another one filled.
    """
    start = time.perf_counter()
    for call in calls:
        call()
    rounds = max(5, round(seconds / 2 / (time.perf_counter() - start)))
    taken: list[list[float]] = [[] for _ in calls]
    for _ in Bar(range(rounds), desc="blocks", unit="round"):
        for call, own in zip(calls, taken, strict=True):
            call()
            begun = time.perf_counter()
            call()
            own.append(time.perf_counter() - begun)
    return [statistics.median(own) for own in taken]


def _peak(side: int, repeats: int = 5) -> float:
    """GFLOPS of the fastest of several products of two square float32 matrices."""
    shape = [side, side]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product",
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"],
                              [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    factors = {name: np.random.default_rng(0).standard_normal((side, side), np.float32) for name in "ab"}
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(None, factors)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9
