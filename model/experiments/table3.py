"""Table 3 of the public benchmark, with the control runs; and Tables 6 and 7, which share theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.experiments import monn_runs, public
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import summary, table, text

Configurations = Callable[[Path, bool], Sequence[tuple[str, str, Mapping[str, Any]]]]
Run = Callable[[Cell, Path, Path], Mapping[str, Any]]

ROWS = {name: name for name in (public.GFCF, public.MONN, public.SERVED, public.TUNED, public.REAL, public.RANDOM)}
DEPTHS = {public.phi_name(phi): f"phi_DEP {len(phi)}: {', '.join(map(str, phi))}" for phi in public.DEPTHS}
RATES = {public.phi_name(phi): f"phi_IR {', '.join(map(str, phi))}" for phi in public.RATES}
PAPER = {"phi 0.8": "0.1922 / 0.1624", "phi 0.8,0.4": "0.1924 / 0.1628", "phi 0.8,0.4,0.2": "0.1922 / 0.1624",
         "phi 0.8,0.4,0.2,0.1": "0.1916 / 0.1623", "phi 0.8,0.1": "0.1916 / 0.1624", "phi 0.8,0.2": "0.1923 / 0.1629",
         "phi 0.8,0.3": "0.1914 / 0.1624", "phi 0.8,0.5": "0.1914 / 0.1623", "phi 0.8,0.6": "0.1924 / 0.1620",
         "phi 0.8,0.7": "0.1925 / 0.1623", public.GFCF: "0.1849 / 0.1518", public.TUNED: "0.1924 / 0.1628"}
"""On Gowalla; the row of test-time training is HILL on NESCL, that of GF-CF is from its own paper."""


def _experiment(name: str, about: str, rows: Mapping[str, str], configurations: Configurations,
                run: Run) -> Experiment:
    def report(done: Sequence[Done]) -> Report:
        found = {row: shown for row, shown in rows.items() if all(row in result["rows"] for _, result in done)}
        lines = [_line(done, row, shown) for row, shown in found.items()]
        first = done[0][1]
        data = {"dataset": first["dataset"], "users": first["users"], "without_train": first["without_train"],
                "rows": public.of_rows(done, found)}
        header = ["variant", "Recall@20", "NDCG@20", "recall against MoNN", "pairs scored a user", "overlap@100",
                  "node pairs", "in the paper, Gowalla"]
        note = (f"\nMean over {len(done)} seed(s) ± sample standard deviation, {first['users']} users with test items, "
                f"of whom {first['without_train']} have no train item. Differences are means over rows of the same "
                "seed. All rows but the beam's rank all items.\n")
        return Report(table(header, lines) + note, data, lambda path: _draw(done, found, path))

    return Experiment(name, about, monn_runs.check_log, configurations, run, report)


def _line(done: Sequence[Done], row: str, shown: str) -> list[str]:
    rows: list[Mapping[str, Any]] = [result["rows"][row] for _, result in done]
    monn = [result["rows"][public.MONN]["recall"] for _, result in done]
    pairs = [sum(result["node_pairs"][row].values()) for _, result in done if row in result["node_pairs"]]
    gain = summary([r["recall"] - of_monn for r, of_monn in zip(rows, monn, strict=True)])
    overlaps = [r["overlap@100"] for r in rows if "overlap@100" in r]
    return [shown, text(summary([r["recall"] for r in rows])), text(summary([r["ndcg"] for r in rows])),
            "" if row == public.MONN else text(gain, "+.4f"), text(summary([r["pairs"] for r in rows]), ".0f"),
            text(summary(overlaps), ".3f") if overlaps else "", text(summary(pairs), ".0f") if pairs else "",
            PAPER.get(row, "")]


TABLE3 = _experiment("table3", "the public benchmark: MoNN, its beam, test-time training and its controls", ROWS,
                     public.by_controls, public.run_controls)
TABLE6 = _experiment("table6", "test-time training by phi_DEP", {public.MONN: public.MONN} | DEPTHS,
                     public.by_phi, public.run_phi)
TABLE7 = _experiment("table7", "test-time training by phi_IR", {public.MONN: public.MONN} | RATES,
                     public.by_phi, public.run_phi)


def _draw(done: Sequence[Done], rows: Mapping[str, str], path: Path) -> None:
    """Plots each seed's figures by row, so that differences can be compared with the spread of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (key, name) in zip(axes, (("recall", "Recall@20"), ("ndcg", "NDCG@20")), strict=True):
        for place, row in enumerate(rows):
            values = [result["rows"][row][key] for _, result in done]
            axis.plot(values, [place] * len(values), "o", color="C0", alpha=0.6)
            axis.plot(sum(values) / len(values), place, "|", color="black", markersize=18)
        axis.set_xlabel(f"{name}, a point a seed, the bar their mean")
        axis.grid(alpha=0.3)
    axes[0].set_yticks(range(len(rows)), rows.values())
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)
