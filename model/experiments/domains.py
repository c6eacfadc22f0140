"""One model for several domains against one model a domain: `data synthetic --days N --domains K`.

Three ways to learn the log of a moving world whose domains differ in what people like: one model that does not know the
domain, one that reads it as context (which is per-domain parameters on a shared backbone, in one bundle with one tree),
and a model for each domain, trained on its events alone.
"""

from __future__ import annotations

import math
import multiprocessing
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.features.encoder import UNKNOWN
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import first_task_weights
from model.config.errors import ConfigError
from model.data.load import Dataset, Events, joined, load_dataset
from model.examples.clicks import Clicks
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.context import reading
from model.experiments.figures import by_slug, summary, table, text, to_json
from model.export.golden import user_input
from model.export.onnx_graphs import bundle_layers, onnx_user_tower
from model.export.seal import export
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.sources.domain_world import DOMAIN
from model.sources.truth import TrueWorld, normalised_entropy
from model.sources.world import sigmoid
from model.training.normalized_entropy import impression_logits
from model.training.trainer import train

KIND = "domains"

SIDES = {"none": "one model, no domain", "context": "one model, domain as context", "apart": "a model for each domain"}
"""Slug -> name."""

ASKED = 50
"""Users whom each bundle answers before its memory is measured."""

SIZES = ("parameters", "bundle_bytes", "memory_bytes")


def check(data: Path) -> None:
    """Raises ConfigError or DataError if a folder is not a world with domains."""
    monn_runs.check_log(data)
    if TrueWorld.open(data).domains is None:
        raise ConfigError(f"{data} is a synthetic world without domains; write one with --days and --domains")


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """A cell for each side."""
    return [(KIND, slug, monn_runs.settings(data, small, side=slug, batch_users=128 if small else 512))
            for slug in SIDES]


def of_domain(dataset: Dataset, domain: int) -> Dataset:
    """The log of one domain, by its id, as if there were no others."""
    def own(events: Events) -> Events:
        assert events.context is not None
        return events.where(events.context[:, _column(dataset)] == domain)

    assert dataset.test is not None
    return reading(replace(dataset, train=own(dataset.train), test=own(dataset.test)), ())


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains and exports one side, and asks it about the test events."""
    dataset, world, side = load_dataset(data), TrueWorld.open(data), cell.settings["side"]
    test = dataset.test
    assert test is not None
    assert test.context is not None
    domain = test.context[:, _column(dataset)]
    if (domain == UNKNOWN).any():
        raise ConfigError(f"{data} has test events in a domain that no train event is in; write a world with more "
                          "events or fewer domains")
    names = [name.decode() for name in dataset.encoder.vocabularies[f"context.{DOMAIN}"]]
    if side == "apart":
        logs = {name: of_domain(dataset, number) for number, name in enumerate(names, start=1)}
    else:
        logs = {side: dataset if side == "context" else reading(dataset, ())}
    settings = {name: value for name, value in cell.settings.items() if name != "side"}
    logits, parameters, bundles = np.empty(test.labels.shape, np.float32), 0, []
    for name, log in logs.items():
        folder = work / name
        trained = train(data, log, monn_runs.config_of(replace(cell, settings=settings)), folder / "run",
                        resume=RunFolder(folder / "run").has_checkpoint)
        logits[domain == names.index(name) + 1 if side == "apart" else slice(None)] = _logits(trained)
        parameters += sum(each.numel() for each in trained.model.parameters())
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        export(trained, folder / "bundle", {})
        bundles.append(folder / "bundle")
    truth = world.event_logits(test, dataset.encoder)
    assert truth is not None
    found = {"ne": _by_domain(sigmoid(logits), test, domain, names), "parameters": parameters,
             "bundle_bytes": sum(file.stat().st_size for path in bundles for file in path.rglob("*") if file.is_file()),
             "memory_bytes": _memory(bundles) - _memory([])}
    return {**found, "bayes_ne": _by_domain(sigmoid(truth), test, domain, names), "events": len(dataset.train),
            "test_events": {name: int((domain == number).sum()) for number, name in enumerate(names, start=1)}}


def _column(dataset: Dataset) -> int:
    return [field.name for field in dataset.spec.model_context].index(DOMAIN)


def _logits(trained: Run) -> NDArray[np.float32]:
    """Of the test events, each in its own context as far as the model reads it."""
    test = trained.dataset.test
    assert test is not None
    clicks = Clicks.of(joined(trained.dataset.train, test), len(trained.dataset.user_ids))
    return impression_logits(trained.reader, clicks, trained.key_index, test)


def _by_domain(probabilities: NDArray[np.float64], test: Events, domain: NDArray[np.int32],
               names: Sequence[str]) -> dict[str, list[float | None]]:
    """NE of click and conversion over all test events, and in each domain; None where all labels are the same."""
    chosen = {"all": np.ones(len(domain), bool),
              **{name: domain == number for number, name in enumerate(names, start=1)}}
    def of(rows: NDArray[np.bool_], task: int) -> float | None:
        found = normalised_entropy(probabilities[rows, task], test.labels[rows, task])
        return found if math.isfinite(found) else None

    return {name: [of(rows, task) for task in range(2)] for name, rows in chosen.items()}


def _memory(bundles: Sequence[Path]) -> int:
    """Resident bytes of a process that has opened bundles and answered ASKED users by each."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_resident, list(bundles)).result()


def _resident(bundles: Sequence[Path]) -> int:
    opened = [_opened(path) for path in bundles]
    status = Path("/proc/self/status").read_text()
    del opened
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def _opened(path: Path) -> tuple[object, ...]:
    """What serves a bundle, after it has scored all ads for some users."""
    bundle = Bundle.open(path)
    content, users = bundle.content, bundle.content.users
    tower = onnx_user_tower(bundle.files.path(layout.USER_TOWER))
    search = ExhaustiveSearch(content.tree, content.scorer(bundle_layers(bundle.files)))
    weights = first_task_weights(len(bundle.manifest.tasks))
    for row in range(min(ASKED, len(users.ids))):
        features, history = users.features.take(np.array([row])), users.history.row(row)
        query = content.query(tower(user_input(content, features, history)), features, history, None)
        search.search(query, top_k=100, task_weights=weights)
    return bundle, tower, search


def report(done: Sequence[Done]) -> Report:
    """NE of clicks and conversions by domain, parameters and memory."""
    found = by_slug(done)
    first = found["none"][0]
    domains = list(first["test_events"])
    rows, lines = [], []
    for slug, name in (*SIDES.items(), ("truth", "the truth")):
        own = found["none" if slug == "truth" else slug]
        key = "bayes_ne" if slug == "truth" else "ne"
        ne = {at: [summary([one[key][at][task] for one in own]) for task in range(2)] for at in ("all", *domains)}
        size = {} if slug == "truth" else {what: float(np.mean([one[what] for one in own])) for what in SIZES}
        rows.append({"side": slug, "ne": {at: [to_json(value) for value in of] for at, of in ne.items()}, **size})
        sizes = [f"{value:,.0f}" if what == "parameters" else f"{value / 2**20:.1f} MiB" for what, value in
                 size.items()] or [""] * len(SIZES)
        lines.append([name, text(ne["all"][0]), text(ne["all"][1]), *(text(ne[at][0], ".3f") for at in domains),
                      *sizes])
    header = ["", "NE of clicks", "of conversions", *(f"clicks in {at}" for at in domains), "parameters", "bundles",
              "memory"]
    note = (f"\nMean over {len(found['none'])} seed(s) ± sample standard deviation. {first['events']:,} train "
            f"impressions, {sum(first['test_events'].values()):,} of the day after as test. Memory: resident, of a "
            f"process that has answered {ASKED} users by each of its bundles, beyond one that has opened none.\n")
    return Report(table(header, lines) + note, {"seeds": len(found["none"]), "domains": domains, "rows": rows})


TABLE = Experiment(KIND, "one model for K domains against K models, in a world with domains", check, configurations,
                   run, report)
