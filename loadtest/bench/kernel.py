"""`python -m loadtest kernel`: time and FLOPS of each scorer, as graph and compiled, against the peak of this machine.

    python -m loadtest kernel --bundle bundles/mine --out kernel

A bundle has one scorer, a stack one per layer. Everything runs on one thread. The peak is the fastest product of two
square float32 matrices in the same runtime and the same run; the work of a graph is counted from its operators, that of
the compiled kernel from its matrices. Whole searches by either alternate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from index_store.bundle.bundle import Bundle
from index_store.bundle.folded_files import read_folded
from index_store.bundle.graphs import scorer_inputs
from index_store.bundle.manifest import BundleError
from index_store.kernel.pair_kernel import PairKernel
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import first_task_weights
from index_store.search.scoring import DenseLayers
from loadtest.bench.report import table
from loadtest.rivals.queries import encoded
from loadtest.rivals.searches import TOP_K
from model.export.flops import Work, count
from model.progress.bars import Bar
from service.retrieval.onnx_towers import DenseRun
from service.retrieval.retriever import Retriever

BLOCKS = tuple(1 << power for power in range(6, 15))
MATRICES = (512, 1024, 2048)
"""Sides of the square matrices whose product gives the peak."""

SECONDS = 15.0

USERS, ROUNDS = 100, 5
"""Users whose searches are timed, and how often."""


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
        `peak_gflops`; `runs`: what a service would run here; `searches`: see `_searches`; `scorers`: an entry each,
        coarse to fine, with `name` (the file), `levels` (those it scores), `flops_per_pair`, `flops_per_call` (the
        fixed cost of a call), `stored_bytes_per_pair`: gathered for a pair and returned as its logits,
        `moved_bytes_per_pair`: read and written by all operators if none is fused; and `blocks`: an entry each with
        `pairs`, `ms`, `us_per_pair`, `gflops`, `share_of_peak` and `joining_gain`: the time of two calls of this size
        over that of one call of twice the size, an upper bound on the gain of joining the blocks of two requests; None
        if the next block is not twice as large. `compiled` is such a list of the compiled kernel, and
        `compiled_flops_per_pair` its work; None where the graph is all there is.

    Raises:
        BundleError: it cannot be opened.
    """
    opened = Bundle.open(folder)
    by_graph, served = Retriever(opened, dense=DenseRun("onnx")), Retriever(opened)
    names = opened.manifest.scorers
    peak = max(_peak(side) for side in Bar(MATRICES, desc="peak", unit="product"))
    layers = enumerate(zip(by_graph.scorer.layers, served.scorer.layers, strict=True))
    return {"peak_gflops": peak, "runs": served.runs, "searches": _searches(by_graph, served),
            "scorers": [_measured(opened, at, pair, _Timing(blocks, seconds / len(names), peak))
                        for at, pair in layers]}


def _searches(by_graph: Retriever, served: Retriever) -> dict[str, float] | None:
    """Searches at the default beam for users of the bundle, by graph and compiled in turn, in processor time.

    Returns:
        `users`, `pairs` of the median search, `graph_ms` and `compiled_ms`, medians, their ratio `gain`, and for each
        `graph_of_scorer` and `compiled_of_scorer`: the search over its own scorer. None where the service would run
        the graphs.
    """
    if not any(isinstance(layer, PairKernel) for layer in served.scorer.layers):
        return None
    content, manifest = served.bundle.content, served.bundle.manifest
    weights, known = first_task_weights(len(manifest.tasks)), len(content.users.ids)
    rows = np.random.default_rng(0).permutation(known)[:USERS]
    users = [encoded(served.bundle, int(row)) for row in rows]
    taken: dict[str, list[tuple[float, float]]] = {"graph": [], "compiled": []}  # processor time, and over the scorer's
    pairs = []
    for _ in Bar(range(ROUNDS), desc="searches", unit="round"):
        for user in users:
            for name, retriever in (("graph", by_graph), ("compiled", served)):
                query = retriever.query(user)
                start, begun = time.perf_counter(), time.thread_time()
                found = BeamSearch(content.tree, retriever.scorer).search(
                    query, top_k=TOP_K, beam_width=manifest.search.beam_width, task_weights=weights)
                own = time.thread_time() - begun
                taken[name].append((own, (time.perf_counter() - start) / query.kernel_seconds))
            pairs.append(found.pairs_scored)
    whole = {name: statistics.median(own for own, _ in both) * 1e3 for name, both in taken.items()}
    shares = {f"{name}_of_scorer": statistics.median(share for _, share in both) for name, both in taken.items()}
    return {"users": len(users), "pairs": statistics.median(pairs), "graph_ms": whole["graph"],
            "compiled_ms": whole["compiled"], "gain": whole["graph"] / whole["compiled"], **shares}


@dataclass(frozen=True)
class _Timing:
    """How blocks are timed: pairs per call, seconds for all of them, and the peak in GFLOPS."""

    blocks: Sequence[int]
    seconds: float
    peak: float

    def rows(self, times: Sequence[float], flops: float, once: float) -> list[dict[str, Any]]:
        """The report's entries of blocks that took `times`, of `flops` a pair and `once` a call."""
        rows = []
        for at, (pairs, taken) in enumerate(zip(self.blocks, times, strict=True)):
            gflops = (once + pairs * flops) / taken / 1e9
            doubled = at + 1 < len(self.blocks) and self.blocks[at + 1] == 2 * pairs
            rows.append({"pairs": pairs, "ms": taken * 1e3, "us_per_pair": taken / pairs * 1e6, "gflops": gflops,
                         "share_of_peak": gflops / self.peak,
                         "joining_gain": 2 * taken / times[at + 1] if doubled else None})
        return rows


def _measured(opened: Bundle, at: int, layers: tuple[DenseLayers, DenseLayers], timing: _Timing) -> dict[str, Any]:
    """The report's entry for one scorer, given its graph and what the service would run."""
    name = opened.manifest.scorers[at]
    levels = [entry.level for entry in opened.manifest.levels if entry.scorer == name]
    inputs = [_inputs(opened, levels[-1], pairs) for pairs in timing.blocks]
    small, large = (count(opened.files.path(name), _named(_inputs(opened, levels[-1], pairs))) for pairs in (64, 128))
    flops = (large.flops - small.flops) / 64
    graph, served = layers
    weights = read_folded(opened.files, at + 1) if isinstance(served, PairKernel) else None
    ran = (graph,) if weights is None else (graph, served)
    times = _medians([partial(layer, *given) for layer in ran for given in inputs], timing.seconds)
    cut = len(inputs)
    _, items, interaction = inputs[0]
    stored = (items.nbytes + interaction.nbytes) / timing.blocks[0] + 4 * len(opened.manifest.tasks)
    compiled = None if weights is None else weights.flops
    return {"name": name, "levels": levels, "flops_per_pair": flops, "flops_per_call": small.flops - 64 * flops,
            "stored_bytes_per_pair": stored, "moved_bytes_per_pair": _moved(small, large),
            "blocks": timing.rows(times[:cut], flops, small.flops - 64 * flops), "compiled_flops_per_pair": compiled,
            "compiled": None if compiled is None else timing.rows(times[cut:], compiled, 0)}


def markdown(report: dict[str, Any]) -> str:
    """The report in Markdown, a table for each scorer."""
    lines = [f"Peak of this machine on one thread: {report['peak_gflops']:.1f} GFLOPS. Scores are computed by: "
             f"{report['runs']}.", *map(_section, report["scorers"])]
    searches = report["searches"]
    if searches is not None:
        lines.append(f"A search at the default beam, {searches['pairs']:,.0f} pairs, medians of {searches['users']} "
                     f"users: {searches['graph_ms']:.2f} ms by graph, {searches['compiled_ms']:.2f} ms compiled, "
                     f"{searches['gain']:.2f} times as fast; {searches['graph_of_scorer']:.2f} and "
                     f"{searches['compiled_of_scorer']:.2f} times its scorer.")
    return "\n\n".join(lines)


_COLUMNS = ("pairs per call", "ms", "µs per pair", "GFLOPS", "of the peak", "gain of joining two")


def _section(scorer: dict[str, Any]) -> str:
    lines = [
        f"`{scorer['name']}` scores level {', '.join(map(str, scorer['levels']))}: "
        f"{scorer['flops_per_pair']:,.0f} FLOPs per pair and {scorer['flops_per_call']:,.0f} per call; "
        f"{scorer['stored_bytes_per_pair']:.0f} bytes gathered and returned per pair, "
        f"{scorer['moved_bytes_per_pair']:,.0f} moved by the operators if none is fused.", "",
        table(_COLUMNS, _cells(scorer["blocks"]))]
    if scorer["compiled"] is not None:
        lines += ["", f"Compiled, {scorer['compiled_flops_per_pair']:,.0f} FLOPs per pair:", "",
                  table(_COLUMNS, _cells(scorer["compiled"]))]
    return "\n".join(lines)


def _cells(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(f"{row['pairs']:,}", f"{row['ms']:.3f}", f"{row['us_per_pair']:.3f}", f"{row['gflops']:.1f}",
             f"{row['share_of_peak']:.1%}", f"{row['joining_gain']:.2f}" if row["joining_gain"] else "-")
            for row in rows]


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
    """Median seconds of each call, of this thread's processor time; they alternate, as the machine slows down at times.

    Each is first called once untimed, so that none pays for caches that another one filled.
    """
    start = time.thread_time()
    for call in calls:
        call()
    rounds = max(5, round(seconds / 2 / (time.thread_time() - start)))
    taken: list[list[float]] = [[] for _ in calls]
    for _ in Bar(range(rounds), desc="blocks", unit="round"):
        for call, own in zip(calls, taken, strict=True):
            call()
            begun = time.thread_time()
            call()
            own.append(time.thread_time() - begun)
    return [statistics.median(own) for own in taken]


def _peak(side: int, repeats: int = 5) -> float:
    """GFLOPS, by processor time, of the fastest of several products of two square float32 matrices."""
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
        start = time.thread_time()
        session.run(None, factors)
        best = min(best, time.thread_time() - start)
    return 2 * side**3 / best / 1e9
