"""Table 1: two towers, MoNN of three sizes and two-layer stacks: NE, recall, and cost as measured and in theory.

Every row is exported and asked through its beam as well as exhaustively; EBR, the two towers behind a FAISS index, is a
second reading of the two towers' run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from model.config.monn import SIZES, MoNNConfig
from model.data.load import load_dataset
from model.data.recall_queries import RecallQueries
from model.evaluation.quality import quality
from model.evaluation.served_quality import served_quality
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import Summary, by_slug, change_percent, summary, table, text, to_json
from model.export.seal import export
from model.runs.checkpoint import RunFolder
from model.training.trainer import train
from model.tree.k_means import default_branching

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
    common = monn_runs.settings(data, small)
    tiny = common.pop("model", {})
    if not small:
        common["branching"] = list(default_branching(monn_runs.number_of_ads(data)))
    finest = len(common["branching"])

    def shape(model: MoNNConfig) -> dict[str, Any]:
        return {**asdict(model), **tiny}

    return [(KIND, slug, {**common, "model": shape(model),
                          "stack": [{"level": finest, "model": shape(above)}] if above is not None else []})
            for slug, (_, model, above, _, _) in ROWS.items()]


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains a run or continues one, exports it, and measures both."""
    dataset, users = load_dataset(data), cell.settings.get("test_users", monn_runs.TEST_USERS)
    trained = train(data, dataset, monn_runs.config_of(cell), work, resume=RunFolder(work).has_checkpoint)
    found = quality(trained, users)
    if not (work / "bundle").exists():
        export(trained, work / "bundle", {})
    assert dataset.test is not None
    queries = RecallQueries.draw(trained.dataset.train, dataset.test, len(dataset.user_ids), users,
                                 trained.config.seed)
    return {"quality": found, "served": served_quality(work / "bundle", queries)}


def report(done: Sequence[Done]) -> Report:
    """Quality and cost, each beside the two towers'."""
    results, rows, lines = by_slug(done), [], []
    towers = results["ttsn"]
    for slug, (name, _, _, theory, paper) in ROWS.items():
        rows.append(_row(name, results[slug], towers, theory, paper))
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


def _row(name: str, own: Sequence[Mapping[str, Any]], towers: Sequence[Mapping[str, Any]], theory: str,
         paper: str) -> dict[str, Any]:
    ne = [monn_runs.entropy(result) for result in own]
    changes = change_percent(ne, [monn_runs.entropy(result) for result in towers])
    beams, exact = ([result["served"][how] for result in own] for how in ("beam", "exhaustive"))
    return {"name": name, "theory": theory, "paper": paper, "ne": summary(ne), "ne_change": changes,
            **{f"recall@{k}": summary([result["quality"][f"recall@{k}"] for result in own]) for k in (20, 100)},
            **{f"beam_recall@{k}": summary([beam[f"recall@{k}"] for beam in beams]) for k in (20, 100)},
            "overlap": summary([beam["overlap@100"] for beam in beams]),
            "cost": _mega(exact), "ms": summary([whole["ms"] for whole in exact]),
            "beam_cost": _mega(beams),
            "beam_ms": summary([beam["ms"] for beam in beams])}


def _mega(measured: Sequence[Mapping[str, Any]]) -> Summary | None:
    """Arithmetic in MFLOP."""
    return summary([one["flops"] / 1e6 if one["flops"] is not None else None for one in measured])


def _ebr(towers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cheapest probe of each seed that keeps enough recall; its cost is in the column of the beam's cost."""
    chosen = [next((probe for probe in result["quality"]["ebr"]
                    if probe["recall@100"] >= KEEPS * result["quality"]["recall@100"]), UNDEFINED) for result in towers]
    none = summary([None])
    return {"name": "EBR", "theory": "M_TS x I", "paper": "+0.03 %, 0.5x", "ne": none, "ne_change": none,
            **{f"recall@{k}": none for k in (20, 100)},
            **{f"beam_recall@{k}": summary([probe[f"recall@{k}"] for probe in chosen]) for k in (20, 100)},
            "overlap": none, "cost": none, "beam_cost": _mega(chosen), "ms": none,
            "beam_ms": none}


TABLE = Experiment("table1", "two towers, MoNN of three sizes and two-layer stacks: quality and cost",
                   monn_runs.check_log, configurations, run, report)
