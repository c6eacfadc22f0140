"""Cells of the public benchmark: Tables 3, 6 and 7, on the model that `train` trains and the service serves.

The protocol is LightGCN's: every user with a test item is asked for the 20 best items but those of training, and
figures are means over users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.baselines.positives import positives
from model.config.errors import ConfigError
from model.config.pairs import PairsConfig
from model.data.load import Dataset, load_dataset
from model.data.recall_queries import RecallQueries
from model.evaluation.recall import answers
from model.evaluation.served_quality import served_quality
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done
from model.experiments.gf_cf import gf_cf_answers
from model.experiments.node_pair_runs import measured_arms
from model.export.seal import export
from model.runs.run import Run
from model.tree.k_means import default_branching

CUT = 20

PHI = (0.8, 0.4)
"""The paper's best on Gowalla: phi_IR from the leaf nodes upwards; phi_DEP is their number."""

DEPTHS = ((0.8,), PHI, (0.8, 0.4, 0.2), (0.8, 0.4, 0.2, 0.1))
"""Table 6, no deeper than the tree."""

RATES = tuple((0.8, rate / 10) for rate in range(1, 8))
"""Table 7."""

BRANCHING = (8, 10, 10, 10)
"""The paper's tree on Gowalla, for Tables 6 and 7: phi_DEP goes up to 4, and the default tree has two levels there."""

FEWEST_MEMBERS = 4
"""Least mean number of items in a leaf node of that tree; a smaller catalogue gets fewer levels."""

GFCF, MONN, SERVED = "GF-CF (harness check)", "MoNN", "MoNN through its beam"
TUNED, REAL, RANDOM = "+ test-time training", "control: real pairs only", "control: random-node pairs"


def phi_name(phi: Sequence[float]) -> str:
    """Name of a row of Tables 6 and 7 in the result."""
    return "phi " + ",".join(map(str, phi))


def by_controls(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Table 3: one cell a seed, with the default tree and its beam, controls and the harness check."""
    branching = default_branching(monn_runs.number_of_ads(data))
    return [_configuration(data, small, "public-controls", branching, phi=list(PHI[:len(branching)]))]


def by_phi(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Tables 6 and 7: one cell a seed for both, with test-time training at every phi, or at some if small."""
    levels, items = list(BRANCHING), monn_runs.number_of_ads(data)
    while len(levels) > 1 and np.prod(levels) * FEWEST_MEMBERS > items:
        levels.pop()
    rates = RATES[::3] if small else RATES
    every = [list(phi) for phi in dict.fromkeys((*DEPTHS, *rates)) if len(phi) <= len(levels)]
    return [_configuration(data, small, "public-phi", levels, phi=every)]


def _configuration(data: Path, small: bool, kind: str, branching: Sequence[int],
                   **more: Any) -> tuple[str, str, dict[str, Any]]:
    return (kind, f"{kind}-small" if small else kind,
            monn_runs.settings(data, small, branching=list(branching), test_users=0, **more))


def run_controls(cell: Cell, data: Path, work: Path) -> dict[str, Any]:
    """Trains MoNN, continues from it with node pairs and with their controls, and measures all, MoNN's beam too."""
    phi = tuple(cell.settings["phi"])
    arms = {TUNED: PairsConfig(phi), REAL: PairsConfig(phi, control="real"), RANDOM: PairsConfig(phi, control="random")}
    result = _measured(cell, data, work, arms)
    run = Run.open(work / "before")
    dataset, queries = run.dataset, _queries(run.dataset, cell.seed)
    if not (work / "bundle").exists():
        export(run, work / "bundle", {})
    beam = served_quality(work / "bundle", queries)["beam"]
    train = positives(dataset.train, len(dataset.user_ids), len(dataset.items))
    result["rows"] |= {
        SERVED: {"recall": beam["recall@20"], "ndcg": beam["ndcg@20"], "pairs": sum(beam["pairs"]),
                 "overlap@100": beam["overlap@100"]},
        GFCF: _row(queries, gf_cf_answers(train, queries, CUT), len(dataset.items))}
    return result


def run_phi(cell: Cell, data: Path, work: Path) -> dict[str, Any]:
    """Trains MoNN, continues from it with the node pairs of every phi, and measures all."""
    return _measured(cell, data, work, {phi_name(phi): PairsConfig(tuple(phi)) for phi in cell.settings["phi"]})


def _measured(cell: Cell, data: Path, work: Path, arms: Mapping[str, PairsConfig]) -> dict[str, Any]:
    """A result with the rows of MoNN and of the arms, all by the exhaustive search."""
    dataset = load_dataset(data)
    queries = _queries(dataset, cell.seed)
    if not len(queries.users):
        raise ConfigError(f"{data} has no user with a test item that is not a train item too, so there is nothing to "
                          "measure; hold other events out")
    base = replace(cell, settings={name: value for name, value in cell.settings.items() if name != "phi"})
    rows, pairs = measured_arms(base, data, work, arms, _exhaustively)
    return {"dataset": data.resolve().name, "users": len(queries.users),
            "without_train": int((queries.masked.lengths == 0).sum()), "items": len(dataset.items),
            "node_pairs": pairs, "rows": {MONN: rows.pop("before"), **rows}}


def _exhaustively(run: Run) -> dict[str, float | None]:
    queries = _queries(run.dataset, run.config.seed)
    return _row(queries, answers(run.reader, run.clicks, run.key_index, queries, CUT), len(run.dataset.items))


def _queries(dataset: Dataset, seed: int) -> RecallQueries:
    assert dataset.test is not None
    return RecallQueries.draw(dataset.train, dataset.test, len(dataset.user_ids), 0, seed)


def _row(queries: RecallQueries, found: Sequence[NDArray[np.integer]], pairs: int) -> dict[str, float | None]:
    return {"recall": queries.recall_of(found), "ndcg": queries.ndcg_of(found, CUT), "pairs": pairs}


def of_rows(done: Sequence[Done], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a table's JSON: names (of the result -> of the table) by seed."""
    return [{"name": shown, "seed": cell.seed, "recall@20": row["recall"], "ndcg@20": row["ndcg"],
             "pairs": row["pairs"], "overlap@100": row.get("overlap@100")}
            for name, shown in names.items() for cell, result in done
            if (row := result["rows"].get(name)) is not None]
