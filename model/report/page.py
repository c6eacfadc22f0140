"""The page of a run, `report.html` in its folder: one file without links to others, to be read in any browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from model.baselines.report import MODEL, verdicts
from model.choice.choose import FILE as CHOICE
from model.export.calibrate import PICTURE
from model.report.charts import curves, recall_of_slices, span
from model.runs.run import Run

FILE = "report.html"

_PAGES = Environment(loader=PackageLoader("model.report", "."), autoescape=True, undefined=StrictUndefined,
                     trim_blocks=True, lstrip_blocks=True)


def write_page(run: Run, found: Mapping[str, Any] | None = None) -> Path:
    """Writes the page of a run.

    Args:
        run: trained; what its folder holds is shown: log, choice of settings, reliability of its probabilities.
        found: its quality beside the baselines; None leaves the baselines on the hold-out, if settings were chosen.

    Returns:
        The file.
    """
    folder, choice = run.folder.path, _choice(run.folder.path)
    found = found or {}
    reports = list(_reports(folder))
    baselines = found.get("baselines")
    text = _PAGES.get_template("page.html").render(
        run=run, name=folder.resolve().name, found=found, choice=choice,
        baselines=baselines if baselines is not None else choice.get("baselines", {}),
        compared=found if baselines is not None else {}, on_test=baselines is not None,
        verdicts=verdicts(found, baselines) if baselines is not None else [], this=MODEL,
        curves=curves([report for report in reports if "seconds" in report and "epoch" in report]),
        trials=choice.get("trials", []), trial_curves=curves(_longest(choice.get("trials", []))),
        slices=recall_of_slices(found["slices"]) if "slices" in found else "", parts=found.get("slices", {}), span=span,
        tree=next((report["tree"] for report in reversed(reports) if "tree" in report), []),
        reliability=_picture(folder / PICTURE), settings=json.dumps(run.config.to_json(), indent=2))
    page = folder / FILE
    page.write_text(text)
    return page


def _reports(folder: Path) -> Iterator[dict[str, Any]]:
    """The reports in the log of a run, in order."""
    log = folder / "log.jsonl"
    if log.exists():
        yield from (json.loads(line) for line in log.read_text().splitlines())


def _choice(folder: Path) -> dict[str, Any]:
    """How the settings were chosen; empty if they were given."""
    path = folder / CHOICE
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def _longest(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures after each epoch of the trial that had the most."""
    figures: list[dict[str, Any]] = max((trial.get("epochs", []) for trial in trials), key=len, default=[])
    return [{"epoch": number, **of} for number, of in enumerate(figures, start=1)]


def _picture(path: Path) -> str:
    """A PNG file as a data URL; empty if there is none."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.exists() else ""
