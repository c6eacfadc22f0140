"""The table of baselines as text, with one line for each that beats the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.baselines.hold_out import CUTOFFS
from model.baselines.table import Row

MODEL = "this run"


def table_text(model: Mapping[str, Any], table: Mapping[str, Row]) -> str:
    """The model's row and those of the baselines, for people; skipped ones with the reason.

    Args:
        model: `recall@K`, `se_recall@K` and `ne` of the run, where it has them.
        table: of `baseline_table`.
    """
    rows = {MODEL: model, **table}
    tasks = list(dict.fromkeys(task for row in rows.values() for task in row.get("ne", {})))
    lines = [["", *(f"Recall@{k}" for k in CUTOFFS), *(f"NE {task}" for task in tasks), "seconds"]]
    for name, row in rows.items():
        if "skipped" in row:
            continue
        lines.append([name, *(_with_error(row.get(f"recall@{k}"), row.get(f"se_recall@{k}")) for k in CUTOFFS),
                      *(_figure(row.get("ne", {}).get(task)) for task in tasks), _figure(row.get("seconds"), ".1f")])
    skipped = [f"{name} is skipped: {row['skipped']}" for name, row in table.items() if "skipped" in row]
    return "\n".join([*_aligned(lines), *skipped, *(sentence for sentence in verdicts(model, table))])


def verdicts(model: Mapping[str, Any], table: Mapping[str, Row]) -> list[str]:
    """A sentence for each baseline that is better than the model by some figure; arguments as for `table_text`."""
    found = []
    for name, row in table.items():
        better = [f"Recall@{k} {_with_error(row[f'recall@{k}'], row.get(f'se_recall@{k}'))} against "
                  f"{_with_error(model[f'recall@{k}'], model.get(f'se_recall@{k}'))}" for k in CUTOFFS
                  if _both(row, model, f"recall@{k}") and row[f"recall@{k}"] > model[f"recall@{k}"]]
        own, theirs = model.get("ne", {}), row.get("ne", {})
        better += [f"NE of {task} {theirs[task]:.4f} against {own[task]:.4f}" for task in theirs
                   if _both(theirs, own, task) and theirs[task] < own[task]]
        if better:
            found.append(f"{name} beats {MODEL}: {', '.join(better)}")
    return found


def _both(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return one.get(name) is not None and other.get(name) is not None


def _figure(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else f"{value:{form}}"


def _with_error(value: float | None, error: float | None) -> str:
    return _figure(value) + ("" if error is None else f" ± {error:.4f}")


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first to the left and the others to the right."""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return ["  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                   zip(line[1:], widths[1:], strict=True))]).rstrip()
            for line in lines]
