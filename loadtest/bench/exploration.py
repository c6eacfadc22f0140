"""`python -m loadtest exploration`: new ads in their first hour: what they get with exploration, its cost, its lessons.

    python -m loadtest exploration --bundle bundles/synthetic --world data/synthetic

New ads are added to the snapshot of a bundle: each has the features of one of the bundle's ads, and an appeal of its
own, which no field shows. Then an hour of answers by eCPM is played for each share of exploration: users of the bundle
come at random, and click on each ad with the true probability of the world, times its appeal for a new one. Every
minute the events of the last one are applied, as a worker does. All ads bid per click, drawn by the seed. `value` is
the true eCPM of what was shown, beside that without exploration. `error` is the mean distance of the logarithms of a
new ad's estimated and true click rates, over the users who were shown it in the last of the hours: by the model,
corrected by the ad's own clicks in this hour. `without` is what the log of the hour says of the value without
exploration (self-normalised IPS), as a share of the true value of the hour. Times are processor time of a search.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import Change, Kind
from index_store.live.snapshot import Snapshot
from index_store.live.user_history import AD_ID, TYPE, EventType
from index_store.live.users import FEATURES
from index_store.search.ranking import first_task_weights
from index_store.value.bids import BID, BID_TYPES, AdBids, Bid
from index_store.value.calibration import sigmoid
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import IMPRESSIONS
from loadtest.bench.added import raw_features
from loadtest.bench.report import table
from model.data.tables import DataError
from model.evaluation.off_policy import Shown, Target, estimates
from model.progress.bars import Bar
from model.sources.truth import TrueWorld
from service.contract.answer import Answer
from service.contract.query import Exploring, Query, SearchOptions
from service.retrieval.exploring import explored
from service.retrieval.retriever import Retriever

SHARES = (0.0, 0.05, 0.1, 0.2)
"""Of the places that go to new ads."""

MINUTES = 60

APPEAL = 0.5
"""Standard deviation of the log odds that a new ad has of its own."""

TYPICAL_BID, BID_SPREAD = 250_000, 0.7
"""Median in micros, and standard deviation of the logarithm, of the bids."""

PRIOR = 1 / APPEAL**2
"""Clicks that the model's expectation counts for where an ad's own clicks correct it: a Gamma prior of this spread."""

TIMED = 10
"""Of so many searches one is timed, with exploration and without."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a calibrated bundle of a synthetic world")
    parser.add_argument("--world", type=Path, required=True, help="the data folder that it was trained on")
    parser.add_argument("--new", type=int, default=200, help="new ads (default %(default)s)")
    parser.add_argument("--answers", type=int, default=6_000, help="answers in the hour (default %(default)s)")
    parser.add_argument("--top-k", type=int, default=10, help="ads of an answer (default %(default)s)")
    parser.add_argument("--below", type=int, default=50,
                        help="an ad with fewer impressions is explored (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of users, new ads, bids and clicks (default "
                                                            "%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a table, then one JSON object. Exit status: 0 fine, 1 bundle or world cannot be used."""
    try:
        report = exploration(args.bundle, args.world, new=args.new, answers=args.answers, top_k=args.top_k,
                             below=args.below, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def exploration(folder: Path, world: Path, *, new: int, answers: int, top_k: int, below: int,
                seed: int) -> dict[str, Any]:
    """Plays an hour for each of SHARES.

    Returns:
        `ads`, `new`, `answers`, `top_k`; `rows`, each with `share`, impressions of new ads in all (`impressions`), at
        the median (`median`), the share of them shown ten times or more (`shown`) and of those that some search has
        scored (`reached`), `value`, `error`, `without`, its `low`, `high` and true `without_true`, and `p50_ms` of a
        search, `p50_plain_ms` of the same without exploration; `error_model`, of the model alone.

    Raises:
        BundleError: it cannot be opened.
        DataError: it is not calibrated, or not of this world, or no new ad is ever shown.
    """
    opened, truth = Bundle.open(folder), TrueWorld.open(world)
    content = opened.content
    if content.calibrations is None or "CPC" not in content.encoder.spec.paid:
        raise DataError(f"bundle {opened.bundle_id} holds no calibration of clicks; export a run on impressions that "
                        "has test events")
    if (len(truth.ads.category), len(truth.users.age)) != (content.tree.n_items, len(content.users.ids)):
        raise DataError(f"bundle {opened.bundle_id} has {content.tree.n_items} ads and {len(content.users.ids)} users, "
                        f"the world {len(truth.ads.category)} and {len(truth.users.age)}; name the folder that it was "
                        "trained on")
    retriever = Retriever(opened)
    try:
        scene = _Scene.of(retriever, truth, new, seed)
        hours = [_Hour(scene, share, top_k, below) for share in SHARES]
        for hour in hours:
            asyncio.run(hour.play(answers))
        reference = hours[-1].shown_new()
        if not len(reference.users):
            raise DataError(f"none of the {new} new ads was shown in {answers} answers; play more")
        return {"ads": content.tree.n_items, "new": new, "answers": answers, "top_k": top_k,
                "error_model": reference.error(np.ones(new)), "rows": [hour.row(hours[0], reference) for hour in hours]}
    finally:
        retriever.close()


def markdown(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(f"{row['share']:.2f}", f"{row['impressions']:,}", f"{row['median']:.0f}", f"{row['shown']:.3f}",
             f"{row['reached']:.3f}", f"{row['value']:.4f}", f"{row['error']:.3f}",
             f"{row['without']:.4f} ({row['low']:.4f} to {row['high']:.4f}), true {row['without_true']:.4f}",
             f"{row['p50_plain_ms']:.2f}, {row['p50_ms']:.2f}") for row in report["rows"]]
    head = ("share", "impressions of new ads", "median", "shown 10 times", "reached", "value", "error",
            "value without, by the log", "p50 without, with")
    return "\n".join([f"{report['ads']:,} ads, {report['new']:,} new ones, {report['answers']:,} answers of "
                      f"{report['top_k']} ads in an hour; the error of the model alone is {report['error_model']:.3f}; "
                      "p50 of a search in milliseconds of its processor time.", "", table(head, rows)])


@dataclass(frozen=True, eq=False, kw_only=True)
class _Scene:
    """What all hours begin with.

    Attributes:
        retriever: of the bundle.
        truth: of its world.
        snapshot: with bids and the new ads.
        sources: (J,) item rows whose features and truth the new ads have.
        appeal: (J,) log odds that they have beside.
        seed: of users and clicks.
    """

    retriever: Retriever
    truth: TrueWorld
    snapshot: Snapshot
    sources: NDArray[np.int64]
    appeal: NDArray[np.float64]
    seed: int

    @classmethod
    def of(cls, retriever: Retriever, truth: TrueWorld, new: int, seed: int) -> _Scene:
        content, random = retriever.bundle.content, np.random.default_rng([seed, 0])
        n = content.tree.n_items
        sources, appeal = random.permutation(n)[:new].astype(np.int64), APPEAL * random.normal(size=new)
        micros = np.maximum(1, TYPICAL_BID * np.exp(BID_SPREAD * random.normal(size=n + new))).astype(np.int64)
        cpc = BID_TYPES.index("CPC")
        bids = LiveBids.sealed(content.tree, AdBids(micros[:n], np.full(n, cpc, np.uint8)))
        ads = [Change(sequence=retriever.sealed.as_of + 1 + at, at=0.0, kind=Kind.AD, id=f"new-{at}",
                      fields={FEATURES: raw_features(content, int(row)),
                              BID: Bid(int(micros[n + at]), "CPC").to_json()})
               for at, row in enumerate(sources.tolist())]
        return cls(retriever=retriever, truth=truth, sources=sources, appeal=appeal, seed=seed,
                   snapshot=replace(retriever.sealed, bids=bids).with_changes(ads))

    def rates(self, users: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """True click probabilities of users (N,) on ads at rows (N,), new ones too."""
        new = rows - len(self.truth.ads.category)
        is_new, at = new >= 0, np.maximum(new, 0)
        items = np.where(is_new, self.sources[at], rows)
        logits = self.truth.pair_logits(users, items)[:, 0].astype(np.float64)
        return sigmoid(logits + np.where(is_new, self.appeal[at], 0.0))

    def micros(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bids of ads at rows (N,)."""
        return self.snapshot.bids.at(self.snapshot.positions(rows))[0]


@dataclass
class _Hour:
    """An hour with one share of exploration, and what it showed: arrays of all its places, answer by answer."""

    scene: _Scene
    share: float
    top_k: int
    below: int
    _users: list[int] = field(default_factory=list)
    _rows: list[NDArray[np.int64]] = field(default_factory=list)
    _found: list[NDArray[np.int64]] = field(default_factory=list)
    _predicted: list[NDArray[np.float64]] = field(default_factory=list)
    _propensities: list[NDArray[np.float64]] = field(default_factory=list)
    _explored: list[NDArray[np.bool_]] = field(default_factory=list)
    _clicked: list[NDArray[np.bool_]] = field(default_factory=list)
    _reached: set[int] = field(default_factory=set)
    _seconds: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))  # without, with exploration

    async def play(self, answers: int) -> None:
        """Answers that many requests, and applies the events of each minute after it."""
        scene = self.scene
        retriever, snapshot, random = scene.retriever, scene.snapshot, np.random.default_rng([scene.seed, 1])
        ids, weights = retriever.bundle.content.users.ids, first_task_weights(len(retriever.bundle.manifest.tasks))
        users, draws = random.integers(0, len(ids), answers), random.random((answers, self.top_k))
        events: list[tuple[str, str, EventType]] = []
        minutes = np.arange(answers) * MINUTES // max(answers, 1)
        for at in Bar(range(answers), desc=f"hour at {self.share:g}", unit="answer", leave=False):
            if at and minutes[at] != minutes[at - 1]:
                snapshot = snapshot.with_changes(_changes(snapshot.as_of, events))
                events = []
            query = Query(user_id=ids[users[at]], top_k=self.top_k, task_weights=weights, by_ecpm=True,
                          exploring=Exploring(share=self.share, below=self.below, seed=at))
            answer = await retriever.retrieve(query, snapshot=snapshot)
            if at % TIMED == 0:
                self._time(query, snapshot, at % (2 * TIMED) == 0)
            rows = answer.shown.rows
            clicked = draws[at, :len(rows)] < scene.rates(np.full(len(rows), users[at]), rows)
            self._note(int(users[at]), answer, clicked)
            user = ids[users[at]].decode()
            for ad, click in zip(answer.ad_ids, clicked.tolist(), strict=True):
                events += [(user, ad, EventType.IMPRESSION), *([(user, ad, EventType.CLICK)] if click else [])]

    def _time(self, query: Query, snapshot: Snapshot, first: bool) -> None:
        """Times the search of a query with exploration and without, the one or the other `first`."""
        retriever = self.scene.retriever
        user = retriever.encode(query, snapshot)
        embedding = retriever.embed(retriever.tower_input(user, snapshot))
        for exploring in (query.exploring, None) if first else (None, query.exploring):
            options = SearchOptions(top_k=query.top_k, beam_width=retriever.bundle.manifest.search.beam_width,
                                    exact=False, task_weights=query.task_weights, excluded=np.empty(0, np.int64),
                                    by_ecpm=True, exploring=exploring)
            start = time.thread_time()
            found = retriever.search(user, options, embedding, snapshot)
            if exploring is not None:
                explored(retriever.bundle.content, found, exploring, None)
            self._seconds[exploring is not None].append(time.thread_time() - start)

    def _note(self, user: int, answer: Answer, clicked: NDArray[np.bool_]) -> None:
        assert answer.exploration is not None
        assert answer.probabilities is not None
        rows, n = answer.shown.rows, self.scene.retriever.bundle.content.tree.n_items
        self._users.append(user)
        self._rows.append(rows)
        self._found.append(answer.found.rows)
        self._predicted.append(answer.probabilities[:, self._click].astype(np.float64))
        self._propensities.append(answer.exploration.propensities)
        self._explored.append(answer.exploration.explored)
        self._clicked.append(clicked)
        scored = np.concatenate([answer.found.rows, answer.exploration.pool])
        self._reached.update(scored[scored >= n].tolist())

    @property
    def _click(self) -> int:
        return self.scene.retriever.bundle.content.encoder.spec.paid["CPC"] or 0

    def row(self, without: _Hour, reference: _ShownNew) -> dict[str, Any]:
        """What came of it, beside an hour without exploration."""
        new, shown = len(self.scene.sources), self.shown_new()
        impressions, expected, clicks = (np.bincount(shown.ads, weights, new) for weights in (
            None, shown.predicted, shown.clicked))
        return {"share": self.share, "impressions": int(impressions.sum()), "median": float(np.median(impressions)),
                "shown": float((impressions >= 10).mean()), "reached": len(self._reached) / new,
                "value": self._value(self._rows) / without._value(without._rows),
                "error": reference.error((clicks + PRIOR) / (expected + PRIOR)), **self._by_the_log(),
                "p50_plain_ms": float(np.median(self._seconds[0])) * 1e3,
                "p50_ms": float(np.median(self._seconds[1])) * 1e3}

    def shown_new(self) -> _ShownNew:
        """The impressions of new ads."""
        rows, n = np.concatenate(self._rows), self.scene.retriever.bundle.content.tree.n_items
        new, users = rows >= n, np.repeat(np.array(self._users, np.int64), [len(one) for one in self._rows])
        return _ShownNew(ads=rows[new] - n, users=users[new], predicted=np.concatenate(self._predicted)[new],
                         true=self.scene.rates(users[new], rows[new]),
                         clicked=np.concatenate(self._clicked)[new].astype(np.float64))

    def _value(self, answers: Sequence[NDArray[np.int64]]) -> float:
        """True eCPM of a place, in micros."""
        rows = np.concatenate(answers)
        users = np.repeat(np.array(self._users, np.int64), [len(one) for one in answers])
        return float((IMPRESSIONS * self.scene.rates(users, rows) * self.scene.micros(rows)).mean())

    def _by_the_log(self) -> dict[str, float]:
        """The value without exploration by what was shown and clicked, and in truth, over that of what was shown."""
        rows, answers = np.concatenate(self._rows), np.arange(len(self._rows))
        paid = IMPRESSIONS * np.concatenate(self._clicked) * self.scene.micros(rows)
        shown = Shown(answers=np.repeat(answers, [len(one) for one in self._rows]),
                      propensities=np.concatenate(self._propensities), rewards=paid.astype(np.float64))
        kept = (~np.concatenate(self._explored)).astype(np.float64)
        found, value = estimates(shown, Target(probabilities=kept))["snips"], self._value(self._rows)
        return {"without": found["value"] / value, "low": found["low"] / value, "high": found["high"] / value,
                "without_true": self._value(self._found) / value}


@dataclass(frozen=True, eq=False, kw_only=True)
class _ShownNew:
    """N impressions of new ads.

    Attributes:
        ads: (N,) their numbers.
        users: (N,) rows.
        predicted, true: (N,) click probabilities.
        clicked: (N,) 0 or 1.
    """

    ads: NDArray[np.int64]
    users: NDArray[np.int64]
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    clicked: NDArray[np.float64]

    def error(self, factors: NDArray[np.float64]) -> float:
        """Mean distance of the logarithms of the click rates of the ads shown, the predicted times factors (J,)."""
        predicted, true = (np.bincount(self.ads, values, len(factors)) for values in (self.predicted, self.true))
        shown = true > 0
        return float(np.mean(np.abs(np.log(factors[shown] * predicted[shown] / true[shown]))))


def _changes(after: int, events: Sequence[tuple[str, str, EventType]]) -> list[Change]:
    return [Change(sequence=sequence, at=0.0, kind=Kind.EVENT, id=user, fields={AD_ID: ad, TYPE: kind.value})
            for sequence, (user, ad, kind) in enumerate(events, start=after + 1)]
