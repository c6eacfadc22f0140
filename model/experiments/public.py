"""The public benchmark: one run a seed, of which Tables 3, 6 and 7 are parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from model.backbone import beam, benchmark, gfcf, model, ranking, tuning
from model.backbone.interactions import Split, read_split
from model.backbone.model import BackboneConfig
from model.experiments.cells import Cell, Done
from model.test_time import check_phi, random_pairs

KIND = "public"
ITERATIONS = 2
"""Of test-time training and its controls."""

PHI = (0.8, 0.4)
"""The paper's best on Gowalla: phi_IR from the leaf nodes upwards; phi_DEP is their number."""

DEPTHS = ((0.8,), PHI, (0.8, 0.4, 0.2), (0.8, 0.4, 0.2, 0.1))
"""Table 6, no deeper than the tree."""

RATES = tuple((0.8, rate / 10) for rate in range(1, 8))
"""Table 7."""

WIDTHS = (8, 40, 120, 240)
"""Nodes kept at the levels of the tree."""

GFCF, BACKBONE, SERVED = "GF-CF (harness check)", "backbone", "backbone + HILL beam"
TUNED, REAL, RANDOM, TUNED_SERVED = ("+ test-time training", "control: real pairs only", "control: random-node pairs",
                                     "+ test-time training + HILL beam")


def phi_name(phi: Sequence[float]) -> str:
    """How a row of Tables 6 and 7 is called in the result."""
    return "phi " + ",".join(map(str, phi))


def check(data: Path) -> None:
    """Raises DataError if the folder holds no split."""
    read_split(data)


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One cell a seed."""
    config = BackboneConfig(dims=16, head_users=500, candidates=10, epochs=2) if small else BackboneConfig()
    return [(KIND, "public-small" if small else "public",
             {"backbone": asdict(config), "branching": [4, 3] if small else list(beam.BRANCHING),
              "widths": [4, 6] if small else list(WIDTHS), "phi": list(PHI), "iterations": ITERATIONS})]


def run(cell: Cell, data: Path, work: Path) -> dict[str, Any]:
    """Fits the backbone and judges every variant on the test pairs."""
    split, settings = read_split(data), cell.settings
    if split.without_train:
        print(f"{data}: {split.without_train} users have test items and no train item; they are kept and counted")
    backbone, neighbours = model.fit(split.train, BackboneConfig(**settings["backbone"]), cell.seed)
    tree = beam.learn_tree(backbone.towers, cell.seed, settings["branching"])
    check_phi(tree, settings["phi"])
    lists = {phi_name(phi): tuning.history_pairs(split.train, tree, phi) for phi in (settings["phi"], *DEPTHS, *RATES)
             if len(phi) < tree.depth}
    main = lists[phi_name(settings["phi"])]
    rng = np.random.default_rng([cell.seed, 1])
    plans = {TUNED: main, REAL: [], RANDOM: [random_pairs(tree, level, rng) if len(level) else level for level in main],
             **lists}
    towers = {name: tuning.tuned(split.train, backbone.towers, tree, pairs, settings["iterations"],
                                 np.random.default_rng([cell.seed, 2])) for name, pairs in plans.items()}
    rows = benchmark.judge(backbone, neighbours, split.test, towers, {SERVED: "", TUNED_SERVED: TUNED}, tree,
                           settings["widths"][:tree.depth - 1])
    rows = {GFCF: _gfcf(split, cell.seed), BACKBONE: rows.pop(""), **rows}
    return {"dataset": data.resolve().name, "users": len(benchmark.users_of(split.test)),
            "without_train": split.without_train, "items": split.train.shape[1],
            "nodes": [tree.size(level) for level in range(1, tree.depth)],
            "node_pairs": {name: [len(level) for level in pairs] for name, pairs in plans.items()},
            "rows": {name: asdict(row) for name, row in rows.items()}}


def of_rows(done: Sequence[Done], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a table's JSON: names (of the result -> of the table) by seed."""
    return [{"name": shown, "seed": cell.seed, "recall@20": row["recall"], "ndcg@20": row["ndcg"],
             "pairs": row["pairs"]}
            for name, shown in names.items() for cell, result in done
            if (row := result["rows"].get(name)) is not None]


def _gfcf(split: Split, seed: int) -> benchmark.Row:
    users = benchmark.users_of(split.test)
    found = gfcf.rank_all(split.train, users, np.random.default_rng(seed))
    reached = ranking.quality(found, split.test[users])
    return benchmark.Row(reached.recall, reached.ndcg, float(split.train.shape[1]))
