"""Table 1: two towers, MoNN of three sizes and two-layer stacks: NE, recall, and cost as measured and in theory.

Every row is exported and asked through its beam as well as exhaustively; EBR, the two towers behind a FAISS index, is a
second reading of the two towers' run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.config.monn import SIZES, MoNNConfig
from model.data.load import load_dataset
from model.experiments import monn_runs, served_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import by_slug, summary, table, text, to_json

KIND = "served"
KEEPS = 0.99
"""Share of the two towers' Recall@100 that EBR has to keep: its row is the cheapest probe that does."""

UNDEFINED: dict[str, Any] = {"recall@20": None, "recall@100": None, "flops": None}
"""Stands for a probe where no test user defines a recall."""

SMALL, TOWERS = SIZES["small"], replace(SIZES["small"], over_arch="dot")
ROWS: dict[str, tuple[str, MoNNConfig, MoNNConfig | None, str, str]] = {
    "ttsn": ("TTSN", TOWERS, None, "M_TS x V", "baseline"),
    "monn-small": ("MoNN Small", SMALL, None, "M_S x V", "-0.29 %, 2.5x"),
    "monn-medium": ("MoNN Medium", SIZES["medium"], None, "M_M x V", "-0.70 %, 17.3x"),
    "monn-large": ("MoNN Large", SIZES["large"], None, "M_L x V", "-1.70 %, 24.6x"),
    "stack-small-ttsn": ("2-layer (Small, TTSN)", TOWERS, SMALL, "M_S x I + M_TS x V", "-0.23 %, 1.7x"),
    "stack-medium-small": ("2-layer (Medium, Small)", SMALL, SIZES["medium"], "M_M x I + M_S x V", "3.3x"),
    "stack-large-small": ("2-layer (Large, Small)", SMALL, SIZES["large"], "M_L x I + M_S x V", "-0.97 %, 3.9x"),
}
"""Slug -> name, model of the ads, model of the nodes, cost in theory, and NE and cost in the paper, where legible. I is
the finest level above the ads."""


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One row a model, with the default tree and training of `train`."""
    rows = {slug: (model, above) for slug, (_, model, above, _, _) in ROWS.items()}
    return [(KIND, slug, settings) for slug, settings in served_runs.settings(data, small, rows).items()]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains a run or continues one, exports it, and measures both."""
    users = cell.settings.get("test_users", monn_runs.TEST_USERS)
    return served_runs.run(data, load_dataset(data), monn_runs.config_of(cell), work, users)[1]


def report(done: Sequence[Done]) -> Report:
    """Quality and cost, each beside the two towers'."""
    results, lines = by_slug(done), []
    rows: list[dict[str, Any]] = []
    towers = results["ttsn"]
    for slug, (name, _, _, theory, paper) in ROWS.items():
        rows.append({"name": name, "theory": theory, "paper": paper, **served_runs.figures(results[slug], towers)})
        if slug == "ttsn":
            rows.append(_ebr(towers))
    for row in rows:
        figures = {key: value for key, value in row.items() if key not in ("name", "theory", "paper")}
        lines.append([row["name"], text(figures["ne"]), text(figures["ne_change"], "+.2f") + " %",
                      *(text(figures[key]) for key in ("recall@20", "recall@100", "beam_recall@20", "beam_recall@100")),
                      text(figures["overlap"], ".3f"), text(figures["cost"], ".2f"), text(figures["beam_cost"], ".2f"),
                      text(figures["ms"], ".2f"), text(figures["beam_ms"], ".2f"), row["theory"], row["paper"]])
    header = ["model", "NE", "against TTSN", "Recall@20", "@100", "through the beam @20", "@100", "overlap@100",
              "cost, MFLOP a query", "through the beam", "ms", "through the beam", "cost in theory", "paper: NE, cost"]
    note = (f"\nMean over {len(towers)} seeds ± sample standard deviation. Cost: pairs scored times the arithmetic of "
            "the graph that scores them, all levels together; ms: median of a search on one of as many threads as "
            f"there are cores. EBR is the cheapest probe that keeps {KEEPS:.0%} of TTSN's Recall@100. Paper: change of "
            "NE, and cost over TTSN's.\n")
    data = [{key: to_json(value) if key not in ("name", "theory", "paper") else value for key, value in row.items()}
            for row in rows]
    return Report(table(header, lines) + note, {"seeds": len(towers), "rows": data})


def _ebr(towers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cheapest probe of each seed that keeps enough recall; its cost is in the column of the beam's cost."""
    chosen = [next((probe for probe in result["quality"]["ebr"]
                    if probe["recall@100"] >= KEEPS * result["quality"]["recall@100"]), UNDEFINED) for result in towers]
    none = summary([None])
    return {"name": "EBR", "theory": "M_TS x I", "paper": "+0.03 %, 0.5x", "ne": none, "ne_change": none,
            **{f"recall@{k}": none for k in (20, 100)},
            **{f"beam_recall@{k}": summary([probe[f"recall@{k}"] for probe in chosen]) for k in (20, 100)},
            "overlap": none, "cost": none, "beam_cost": served_runs.mega(chosen), "ms": none,
            "beam_ms": none}


TABLE = Experiment("table1", "two towers, MoNN of three sizes and two-layer stacks: quality and cost",
                   monn_runs.check_log, configurations, run, report)
