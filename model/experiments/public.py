"""Cells of the public benchmark: Tables 3, 6 and 7."""

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
from model.tree.node_pairs import check_phi, random_pairs

KIND = "public"
ITERATIONS = 2
"""Of test-time training and its controls."""

PHI = (0.8, 0.4)
"""The paper's best on Gowalla: phi_IR from the leaf nodes upwards; phi_DEP is their number."""

DEPTHS = ((0.8,), PHI, (0.8, 0.4, 0.2), (0.8, 0.4, 0.2, 0.1))
"""Table 6, no deeper than the tree."""

RATES = tuple((0.8, rate / 10) for rate in range(1, 8))
"""Table 7."""

WIDTHS = (8, 10, 25, 50)
"""Nodes kept at the levels of the tree; on a hold-out, beams two to ten times as wide found no more."""

GFCF, BACKBONE, SERVED = "GF-CF (harness check)", "backbone", "backbone + HILL beam"
TUNED, REAL, RANDOM = "+ test-time training", "control: real pairs only", "control: random-node pairs"


def phi_name(phi: Sequence[float]) -> str:
    """Name of a row of Tables 6 and 7 in the result."""
    return "phi " + ",".join(map(str, phi))


def check(data: Path) -> None:
    """Raises DataError if the folder does not hold a split."""
    read_split(data)


def by_controls(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Table 3: one cell a seed, with beam, controls and the harness check."""
    return [_configuration(small, "controls", (PHI,))]


def by_phi(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Tables 6 and 7: one cell a seed for both, with test-time training at every phi."""
    return [_configuration(small, "phi", tuple(dict.fromkeys((*DEPTHS, *RATES))))]


def _configuration(small: bool, what: str, phi: Sequence[Sequence[float]]) -> tuple[str, str, dict[str, Any]]:
    config = BackboneConfig(dims=16, head_users=500, candidates=10, epochs=2) if small else BackboneConfig()
    return (KIND, f"public-{what}-small" if small else f"public-{what}",
            {"what": what, "backbone": asdict(config), "branching": [4, 3] if small else list(beam.BRANCHING),
             "widths": [4, 6] if small else list(WIDTHS), "phi": [list(one) for one in phi],
             "iterations": ITERATIONS})


def run(cell: Cell, data: Path, work: Path) -> dict[str, Any]:
    """Fits the backbone and measures every variant on the test pairs."""
    split, settings = read_split(data), cell.settings
    if split.without_train:
        print(f"{data}: {split.without_train} users have test items and no train item; they are kept and counted")
    backbone, neighbours = model.fit(split.train, BackboneConfig(**settings["backbone"]), cell.seed)
    tree = beam.learn_tree(backbone.towers, cell.seed, settings["branching"])
    check_phi(tree, settings["phi"][0])
    plans = {phi_name(phi): tuning.history_pairs(split.train, tree, phi) for phi in settings["phi"]
             if len(phi) < tree.depth}
    with_controls = settings["what"] == "controls"
    if with_controls:
        (main,) = plans.values()
        rng = np.random.default_rng([cell.seed, 1])
        plans = {TUNED: main, REAL: [],
                 RANDOM: [random_pairs(tree, level, rng) if len(level) else level for level in main]}
    towers = {name: tuning.tuned(split.train, backbone.towers, tree, pairs, settings["iterations"],
                                 np.random.default_rng([cell.seed, 2])) for name, pairs in plans.items()}
    rows = benchmark.judge(backbone, neighbours, split.test, towers, SERVED if with_controls else None, tree,
                           settings["widths"][:tree.depth - 1])
    rows[BACKBONE] = rows.pop("")
    if with_controls:
        rows[GFCF] = _gfcf(split, cell.seed)
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
