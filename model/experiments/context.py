"""What the model gains by reading context, against a world whose truth is known: `data synthetic --context`.

Four declarations of one log are trained. Their bundles are asked for the first position and a drawn hour, whether or
not they know of either, and their answers are compared with the true best ads of that hour.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.search.scoring import UserQuery
from model.config.errors import ConfigError
from model.data.load import Dataset, Events, joined, load_dataset
from model.examples.clicks import Clicks
from model.experiments import monn_runs
from model.experiments.cells import Cell, Done, Experiment, Report
from model.experiments.figures import change_percent, summary, table, text, to_json
from model.export.golden import user_input
from model.export.onnx_graphs import bundle_layers, onnx_user_tower
from model.export.seal import export
from model.progress.bars import Bar
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.sources.context_world import HOUR, HOURS, POSITION, hour_text
from model.sources.truth import TrueWorld
from model.sources.world import sigmoid
from model.training.normalized_entropy import impression_ne
from model.training.trainer import train

KIND = "context"
TOP_K = 100
USERS = 300

READ: dict[str, tuple[str, ...]] = {"nothing": (), "position": (POSITION,), "hour": (HOUR,),
                                    "position and hour": (POSITION, HOUR)}
"""Row of the table -> the context fields that its model reads."""


def check(data: Path) -> None:
    """Raises ConfigError or DataError if a folder is not a world with context."""
    monn_runs.check_log(data)
    if TrueWorld.open(data).context is None:
        raise ConfigError(f"{data} is a synthetic world without context; write one with --context")


def configurations(data: Path, small: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """One cell for all rows, whose searches are timed in turn."""
    return [(KIND, "context", monn_runs.settings(data, small))]


def reading(dataset: Dataset, names: Collection[str]) -> Dataset:
    """The log as if its declaration let the model read these context fields alone."""
    fields = dataset.spec.model_context
    columns = [at for at, field in enumerate(fields) if field.name in names]
    spec = replace(dataset.spec, context_fields=tuple(
        field if field.name in names else replace(field, model=False, serve_as="")
        for field in dataset.spec.context_fields))

    def cut(events: Events) -> Events:
        return replace(events, context=events.context[:, columns] if columns and events.context is not None else None)

    return replace(dataset, spec=spec, encoder=replace(dataset.encoder, spec=spec), train=cut(dataset.train),
                   test=None if dataset.test is None else cut(dataset.test))


def run(cell: Cell, data: Path, work: Path) -> Mapping[str, Any]:
    """Trains, exports and measures all rows."""
    dataset, world = load_dataset(data), TrueWorld.open(data)
    assert dataset.test is not None
    requests = _requests(cell, len(dataset.user_ids))
    rows: dict[str, dict[str, Any]] = {}
    asked = []
    for name, names in READ.items():
        folder = work / name.replace(" ", "-")
        trained = train(data, reading(dataset, names), monn_runs.config_of(cell), folder,
                        resume=RunFolder(folder).has_checkpoint)
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        export(trained, folder / "bundle", {})
        asked.append(_Asked(Bundle.open(folder / "bundle")))
        rows[name] = {"ne": _ne(trained), **_against_truth(asked[-1], world, requests)}
    for row, figures in zip(rows.values(), _searches(asked, requests), strict=True):
        row |= figures
    return {"rows": rows, "bayes_ne": world.bayes_ne(dataset.test, dataset.encoder)["click"],
            "test_events": len(dataset.test), "users": len(requests)}


@dataclass(frozen=True)
class _Request:
    """A user, and the hour of the request."""

    user: int
    hour: int

    @property
    def context(self) -> dict[str, str]:
        return {HOUR: str(hour_text(np.array([self.hour]))[0])}


def _requests(cell: Cell, users: int) -> list[_Request]:
    rng = np.random.default_rng([cell.seed, 17])
    chosen = rng.permutation(users)[:USERS]
    return [_Request(int(user), int(hour)) for user, hour in zip(chosen, rng.integers(0, HOURS, len(chosen)),
                                                                 strict=True)]


class _Asked:
    """A bundle, as the service asks it: the embedding of the user, then what the context adds, then the search."""

    def __init__(self, opened: Bundle) -> None:
        self.content = opened.content
        self._tower = onnx_user_tower(opened.files.path(layout.USER_TOWER))
        scorer = opened.content.scorer(bundle_layers(opened.files))
        self._beam = BeamSearch(opened.content.tree, scorer)
        self._exhaustive = ExhaustiveSearch(opened.content.tree, scorer)
        self._width, self._weights = opened.manifest.search.beam_width, first_task_weights(len(opened.manifest.tasks))

    def embedding(self, user: int) -> NDArray[np.float32]:
        """What the user cache holds."""
        users = self.content.users
        return self._tower(user_input(self.content, users.features.take(np.array([user])), users.history.row(user)))

    def query(self, request: _Request, embedding: NDArray[np.float32]) -> UserQuery:
        """The scorer's input in the context of a request, of which the model reads what it knows."""
        content = self.content
        return content.query(embedding, content.users.features.take(np.array([request.user])),
                             content.users.history.row(request.user), content.encoder.encode_context(request.context))

    def exactly(self, query: UserQuery) -> SearchResult:
        return self._exhaustive.search(query, top_k=TOP_K, task_weights=self._weights)

    def by_beam(self, query: UserQuery) -> SearchResult:
        return self._beam.search(query, top_k=TOP_K, beam_width=self._width, task_weights=self._weights)


def _ne(trained: Run) -> float | None:
    """NE of clicks on the test events, each in its own context as far as the model reads it."""
    test = trained.dataset.test
    assert test is not None
    clicks = Clicks.of(joined(trained.dataset.train, test), len(trained.dataset.user_ids))
    return impression_ne(trained.reader, clicks, trained.key_index, test)["click"]


def _against_truth(asked: _Asked, world: TrueWorld, requests: Sequence[_Request]) -> dict[str, float]:
    """Overlap of exhaustive answers with the true ones of the hour; predicted / true clicks at the first position."""
    context, calibrations = world.context, asked.content.calibrations
    assert context is not None
    assert calibrations is not None
    overlap, predicted, true = [], 0.0, 0.0
    for request in Bar(requests, desc="truth", unit="user", leave=False):
        found = asked.exactly(asked.query(request, asked.embedding(request.user)))
        logits = (world.logits(np.array([request.user]), None)[0, :, 0] + context.hour[request.hour, world.ads.category]
                  + context.position[0])
        overlap.append(np.isin(found.rows, np.argsort(-logits, kind="stable")[:TOP_K]).mean())
        predicted += float(calibrations.probability(0, found.logits).sum())
        true += float(sigmoid(logits[found.rows]).sum())
    return {"overlap": float(np.mean(overlap)), "predicted_by_true": predicted / true}


def _searches(asked: Sequence[_Asked], requests: Sequence[_Request]) -> list[dict[str, float]]:
    """Of each bundle, mean pairs and median milliseconds from a cached embedding to the answer by its default beam.

    The bundles take turns. Their beams are tuned, each to its own tree, so that times go with pairs.
    """
    seconds, pairs = np.zeros((len(requests), len(asked))), np.zeros((len(requests), len(asked)))
    embeddings = [[one.embedding(request.user) for one in asked] for request in requests]
    for at, request in enumerate(requests):
        for number in np.random.default_rng(at).permutation(len(asked)).tolist():
            began = time.perf_counter()
            found = asked[number].by_beam(asked[number].query(request, embeddings[at][number]))
            seconds[at, number] = time.perf_counter() - began
            pairs[at, number] = found.pairs_scored
    return [{"pairs": float(mean), "p50_ms": float(median) * 1000}
            for mean, median in zip(pairs.mean(axis=0), np.median(seconds, axis=0), strict=True)]


def report(done: Sequence[Done]) -> Report:
    """NE beside Bayes NE, overlap with the true ranking, and p50."""
    results = [result for _, result in done]
    first, best = [result["rows"]["nothing"]["ne"] for result in results], [result["bayes_ne"] for result in results]
    rows, lines = [], []
    for name in READ:
        own = [result["rows"][name] for result in results]
        found = {key: summary([one[key] for one in own])
                 for key in ("ne", "overlap", "predicted_by_true", "pairs", "p50_ms")}
        found["change"] = change_percent([one["ne"] for one in own], first)
        rows.append({"name": name, **{key: to_json(value) for key, value in found.items()}})
        lines.append([name, text(found["ne"]), text(found["change"], "+.2f") + " %", text(found["overlap"], ".3f"),
                      text(found["predicted_by_true"], ".2f"), text(found["pairs"], ".0f"),
                      text(found["p50_ms"], ".2f") + " ms"])
    lines.append(["the truth", text(summary(best)), text(change_percent(best, first), "+.2f") + " %", "1", "1", "", ""])
    header = ["the model reads", "NE", "against the first", f"overlap@{TOP_K} with the true ranking",
              "predicted / true clicks", "pairs", "p50"]
    note = (f"\nMean over {len(results)} seed(s) ± sample standard deviation. NE: clicks of "
            f"{results[0]['test_events']:,} test impressions, each in its own context. Overlap and clicks: exhaustive "
            f"answers for {results[0]['users']} users at drawn hours and the first position. Pairs and p50: the "
            "default beam of each bundle, from a cached embedding, in turns.\n")
    return Report(table(header, lines) + note,
                  {"seeds": len(results), "rows": rows, "bayes_ne": to_json(summary(best))})


TABLE = Experiment("context", "what the model gains by reading hour and position, in a world with context", check,
                   configurations, run, report)
