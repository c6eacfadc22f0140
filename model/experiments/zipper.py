"""What it costs not to know labels yet, in a moving world, whose conversions take days.

One model learns the last days before "now" in seven ways, and is asked about conversions of the days after it: as if
all labels were known (the oracle); as they are known now, so that a conversion to come is a negative; the longest
window alone, on impressions that are old enough; Zipper, in which each impression teaches one of the windows that have
closed for it; all of these windows at once; and by the rule `waiting` of `LabelWindows`, without and with the shorter
windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_store.declaration.spec import FeatureSpec
from model.config.errors import ConfigError
from model.data.label_windows import Rule
from model.data.load import Dataset, joined, load_dataset
from model.data.tables import ADS, DAYS, EVENTS, TEST_EVENTS, USERS, read_spec, write_folder
from model.data.windows import day_folder
from model.examples.clicks import Clicks
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import by_slug, change_percent, summary, table, text, to_json
from model.runs.checkpoint import RunFolder
from model.sources.moving_world import DAYS_BEFORE
from model.training.normalized_entropy import NormalizedEntropy, impression_logits
from model.training.trainer import train

KIND = "zipper"
DELAYED, TIME = "conversion", "conversion_at"

HOURS = (6.0, 24.0, 168.0)
"""Windows. Of the conversions of a moving world, 22 %, 63 % and 99.9 % come within them."""

TEST_DAYS = 3
"""The last days of the world, which the models are asked about."""

SIDES = {"oracle": "all labels, those to come too", "naive": "what is to come is a negative",
         "longest": "the longest window alone", "zipper": "Zipper: each row one of the windows that have closed",
         "every": "each row all of the windows that have closed",
         "waiting": "the longest window, younger rows by how likely a label would be there by now",
         "heads": "the same, and shorter windows as further heads"}
"""Slug -> name; the other rows are compared with the first."""

RULES: dict[str, Rule] = {"longest": "every", "zipper": "one", "every": "every", "waiting": "waiting",
                          "heads": "waiting"}


def check(data: Path) -> None:
    """Raises ConfigError or DataError if a folder is not a moving world that is long enough."""
    read_spec(data)
    if not day_folder(data, TEST_DAYS + 1).is_dir():
        raise ConfigError(f"{data} is no synthetic world of at least {TEST_DAYS + 1} days; write one with "
                          f"`python -m model data synthetic --days {2 * TEST_DAYS}`")


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """A cell for each side; nothing is retrieved, so no tree is learned in the loss."""
    common = monn_runs.settings(data, small, tree="posthoc", rounds=0, epochs=1 if small else 2, batch_users=512)
    return [(KIND, slug, {**common, "side": slug, "hours": list(HOURS)}) for slug in SIDES]


def with_windows(spec: FeatureSpec) -> FeatureSpec:
    """A declaration whose conversions come within HOURS."""
    return replace(spec, tasks=tuple(replace(task, windows=HOURS, time=TIME) if task.name == DELAYED else task
                                     for task in spec.tasks))


def write_log(data: Path, out: Path) -> None:
    """Writes the log of the DAYS_BEFORE days before the test days, with these as test events."""
    last = len(list((data / DAYS).iterdir()))
    days = [pq.read_table(day_folder(data, day) / EVENTS) for day in range(1, last + 1)]
    events = pa.concat_tables([pq.read_table(data / EVENTS), pq.read_table(data / TEST_EVENTS), *days[:-TEST_DAYS]])
    ads = pa.concat_tables([pq.read_table(data / ADS), *(pq.read_table(day_folder(data, day) / ADS)
                                                         for day in range(1, last + 1))])
    kept = DAYS_BEFORE * len(days[0])  # by the day, in order
    write_folder(out, with_windows(read_spec(data)), pq.read_table(data / USERS), ads, events.slice(len(events) - kept),
                 pa.concat_tables(days[-TEST_DAYS:]))


def as_learned(dataset: Dataset, side: str) -> Dataset:
    """The log as one of the sides learns it; it was read with HOURS."""
    windows, log = dataset.windows, dataset.train
    assert windows is not None
    if side in RULES:
        windows = replace(windows, rule=RULES[side])
    if side in ("zipper", "every", "heads"):
        return replace(dataset, windows=windows)
    kept, hours = ((windows.spans[0][-1:],), HOURS[-1:]) if side in RULES else ((), ())
    spec = replace(dataset.spec, tasks=tuple(
        replace(task, windows=hours, time=task.time if hours else "") if task.windows else task
        for task in dataset.spec.tasks))
    if side == "oracle":
        log = replace(log, labels=windows.final(log.labels, log.delays))
    return replace(dataset, spec=spec, encoder=replace(dataset.encoder, spec=spec), train=log,
                   windows=replace(windows, spans=kept) if kept else None)


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains one side and asks it about the days after."""
    write_log(data, work / "log")
    dataset = load_dataset(work / "log")
    settings = {name: value for name, value in cell.settings.items() if name not in ("side", "hours")}
    folder = work / "run"
    trained = train(work / "log", as_learned(dataset, cell.settings["side"]),
                    monn_runs.config_of(replace(cell, settings=settings)), folder,
                    resume=RunFolder(folder).has_checkpoint)
    test = dataset.test
    assert test is not None
    clicks = Clicks.of(joined(trained.dataset.train, test), len(dataset.user_ids))
    logits = impression_logits(trained.reader, clicks, trained.key_index, test)
    entropy = NormalizedEntropy(len(dataset.spec.tasks))
    entropy.add(logits, test.labels.astype(np.float32))
    names = [task.name for task in dataset.spec.tasks]
    delayed = names.index(DELAYED)
    labels = dataset.train.labels[:, delayed]
    return {"ne": dict(zip(names, entropy.values(), strict=True)),
            "predicted_by_true": float((1 / (1 + np.exp(-logits[:, delayed].astype(np.float64)))).sum()
                                       / test.labels[:, delayed].sum()),
            "train_events": len(labels), "known": int(labels.sum()), "test_events": len(test),
            "positives": int(test.labels[:, delayed].sum())}


def report(done: Sequence[Done]) -> Report:
    """NE of clicks and conversions of each side, and how many conversions it predicts."""
    found = by_slug(done)
    first = [result["ne"][DELAYED] for result in found["oracle"]]
    rows, lines = [], []
    for slug, name in SIDES.items():
        own = found[slug]
        figures = {"click_ne": summary([one["ne"]["click"] for one in own]),
                   "conversion_ne": summary([one["ne"][DELAYED] for one in own]),
                   "change": change_percent([one["ne"][DELAYED] for one in own], first),
                   "predicted_by_true": summary([one["predicted_by_true"] for one in own])}
        rows.append({"side": slug, **{key: to_json(value) for key, value in figures.items()}})
        lines.append([name, text(figures["conversion_ne"]), text(figures["change"], "+.2f") + " %",
                      text(figures["predicted_by_true"], ".3f"), text(figures["click_ne"])])
    one = found["oracle"][0]
    header = ["learned", "NE of conversions", "against the oracle", "predicted / true conversions", "NE of clicks"]
    hours = ", ".join(f"{hours:g}" for hours in HOURS)
    note = (f"\nMean over {len(first)} seed(s) ± sample standard deviation. Windows of {hours} hours; "
            f"{one['train_events']:,} impressions, asked about {one['test_events']:,} of the {TEST_DAYS} days after "
            f"them with {one['positives']:,} conversions within the longest window.\n")
    return Report(table(header, lines) + note, {"seeds": len(first), "hours": list(HOURS), "rows": rows})


TABLE = Experiment(KIND, "late labels in a world with days: an oracle, naive, the longest window alone, Zipper", check,
                   configurations, run, report)
