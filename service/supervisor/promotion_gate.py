"""The promotion gate: compares a candidate bundle with the one that serves, on the same requests.

It opens both bundles and computes for seconds, so it runs in a separate low-priority process. The files of the
candidate must have been verified before.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.declaration.values import FeatureError
from index_store.search.ranking import SearchResult
from index_store.targeting.predicates import PredicateError
from service.contract.errors import ErrorType, ServiceError, from_feature_error, from_predicate_error
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.contract.query import EncodedUser, SearchOptions
from service.retrieval.beam_choice import read_curve
from service.retrieval.retriever import Retriever
from service.settings import Settings
from service.shards.shard_access import ShardAccess
from service.supervisor.shadow_evidence import ShadowEvidence

_OVERLAP = "overlap, sealed"
_ROUNDS = 3
"""Timed searches of each request in each bundle; the fastest counts."""


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """How much worse than the current bundle a candidate may be, and how long the comparison may take.

    Attributes:
        overlap_loss: of overlap with the exhaustive answer, absolute; a replay may lose its standard error too.
        recall_loss: share of the sealed recall.
        ads_loss: share of the ads in the index, and of the distinct ads that the requests return.
        latency_rise: share of the median search time.
        seconds: for exhaustive searches, both bundles together.
        shadow_overlap: share of the returned ads that it shows too as a shadow, at least.
        shadow_drift: how far its probabilities may be off those that were returned, on average.
    """

    overlap_loss: float
    recall_loss: float
    ads_loss: float
    latency_rise: float
    seconds: float
    shadow_overlap: float
    shadow_drift: float

    @classmethod
    def of(cls, settings: Settings) -> GateLimits:
        return cls(overlap_loss=settings.gate_overlap_loss, recall_loss=settings.gate_recall_loss,
                   ads_loss=settings.gate_ads_loss, latency_rise=settings.gate_latency_rise,
                   seconds=settings.gate_seconds, shadow_overlap=settings.gate_shadow_overlap,
                   shadow_drift=settings.gate_shadow_drift)


@dataclass(frozen=True)
class Measure:
    """One measure of both bundles.

    Attributes:
        candidate: None where its evaluation.json lacks what that of the current bundle has.
        allowed: the worst value with which the candidate passes.
    """

    name: str
    current: float
    candidate: float | None
    allowed: float
    better: Literal["higher", "lower"]

    @property
    def passed(self) -> bool:
        if self.candidate is None:
            return False
        return self.candidate >= self.allowed if self.better == "higher" else self.candidate <= self.allowed


@dataclass(frozen=True)
class Comparison:
    """All measures; `basis` describes what was replayed, `refusals` counts those of the candidate by error type."""

    measures: tuple[Measure, ...]
    basis: str
    refusals: Mapping[ErrorType, int]

    @property
    def passed(self) -> bool:
        return all(measure.passed for measure in self.measures)

    def text(self) -> str:
        """All measures as an aligned table, with failed ones marked."""
        cells = [("measure", "current", "candidate", "allowed", "")]
        cells += [(row.name, _shown(row.current), "none" if row.candidate is None else _shown(row.candidate),
                   ("at least " if row.better == "higher" else "at most ") + _shown(row.allowed),
                   "" if row.passed else "WORSE") for row in self.measures]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join((name.ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                     zip(rest[:-1], widths[1:-1], strict=True)), rest[-1])).rstrip()
                 for name, *rest in cells]
        refused = [f"the candidate refused {count} with {kind}" for kind, count in self.refusals.items()]
        return "\n".join([*lines, "; ".join([self.basis, *refused])])


def compare(candidate: Path, current: Path, requests: Sequence[bytes], limits: GateLimits,
            evidence: ShadowEvidence | None = None, shards: ShardAccess | None = None) -> Comparison:
    """Compares two bundles on the same requests.

    Args:
        candidate: folder of the bundle that is to serve.
        current: folder of the one that does.
        requests: bodies of POST /retrieve. All are answered by the beam; `budget_ms`, which would choose it by the
            clock, counts as absent. Where the current bundle answers none of them, its golden requests are replayed.
        limits: what may be worse, and by how much.
        evidence: of the candidate in the shadow of the current bundle; None if there is none to be heard.
        shards: how those of sharded bundles are reached.

    Raises:
        BundleError: one of the bundles is broken.
    """
    with _OpenBundle(current, shards) as now, _OpenBundle(candidate, shards) as new:
        replay = _Replay.of(now, new, requests)
        rows = [Measure("refused requests", 0, replay.refusals.total(), 0, "lower"), *_sealed(now, new, limits)]
        exhaustive = 0
        if replay.pairs:
            replayed, exhaustive = _replayed(replay.pairs, limits)
            rows += replayed
        basis = f"{replay.answered} {replay.source} requests, {exhaustive} of them searched exhaustively too"
        if evidence is not None:
            rows += _in_the_shadow(evidence, limits)
            basis += f"; {evidence.compared:,} answers compared with it as a shadow"
        return Comparison(tuple(rows), basis, dict(replay.refusals))


class _OpenBundle:
    """One of the two bundles, open for the length of a `with` block."""

    def __init__(self, folder: Path, shards: ShardAccess | None) -> None:
        self.opened = Bundle.open(folder, verify=False)
        self._retriever = Retriever(self.opened, shards=shards)
        self._fields = frozenset(field.name for field in self.opened.content.encoder.spec.user_fields)

    def __enter__(self) -> _OpenBundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._retriever.close()

    def prepare(self, body: bytes) -> _PreparedSearch | ErrorType:
        """The prepared search of a request, or the error type with which this bundle refuses it."""
        retriever = self._retriever
        try:
            query = replace(to_query(parse_body(body), self.opened.manifest, UNLIMITED), exact=False, budget_ms=None)
            user = retriever.encode(query)
            excluded = retriever.excluded(query, user)
        except ServiceError as error:
            return error.error_type
        except FeatureError as error:
            return from_feature_error(error, self._fields).error_type
        except PredicateError as error:
            return from_predicate_error(error).error_type
        beam = retriever.beam_of(query, retriever.eligible(user, excluded))
        return _PreparedSearch(retriever, user, retriever.embed(retriever.tower_input(user)),
                               SearchOptions(top_k=query.top_k, beam_width=beam.beam_width, exact=False,
                                             task_weights=query.task_weights, excluded=excluded,
                                             by_ecpm=query.by_ecpm, floor=query.floor, max_per=query.max_per))


@dataclass(frozen=True)
class _PreparedSearch:
    """A request parsed and encoded by one bundle, ready for its search."""

    retriever: Retriever
    user: EncodedUser
    embedding: NDArray[np.float32]
    options: SearchOptions

    def search(self, *, exact: bool = False) -> SearchResult:
        return self.retriever.search(self.user, replace(self.options, exact=exact), self.embedding)

    def seconds(self) -> float:
        """Processor time of one search, which varies less with other load than wall time."""
        start = time.thread_time()
        self.search()
        return time.thread_time() - start


_Pair = tuple[_PreparedSearch, _PreparedSearch]
"""One request in the current bundle and in the candidate."""


@dataclass(frozen=True)
class _Replay:
    """The requests that the current bundle answers.

    Attributes:
        source: where they come from.
        answered: how many they are.
        pairs: those that the candidate answers too.
        refusals: of the candidate for the others, by error type.
    """

    source: Literal["recorded", "golden"]
    answered: int
    pairs: Sequence[_Pair]
    refusals: Counter[ErrorType]

    @classmethod
    def of(cls, now: _OpenBundle, new: _OpenBundle, requests: Sequence[bytes]) -> _Replay:
        recorded = _answered(now, requests)
        golden = [] if recorded else _answered(now, [orjson.dumps(one["request"]) for one in now.opened.golden])
        pairs: list[_Pair] = []
        refusals: Counter[ErrorType] = Counter()
        for body, search in recorded or golden:
            other = new.prepare(body)
            if isinstance(other, _PreparedSearch):
                pairs.append((search, other))
            else:
                refusals[other] += 1
        return cls("recorded" if recorded else "golden", len(recorded or golden), pairs, refusals)


def _answered(bundle: _OpenBundle, bodies: Sequence[bytes]) -> list[tuple[bytes, _PreparedSearch]]:
    prepared = [(body, bundle.prepare(body)) for body in bodies]
    return [(body, search) for body, search in prepared if isinstance(search, _PreparedSearch)]


def _replayed(pairs: Sequence[_Pair], limits: GateLimits) -> tuple[list[Measure], int]:
    """The measures of the replay, and how many requests were searched exhaustively."""
    overlaps, returned = _overlaps(pairs, limits.seconds)
    overlap, new_overlap = (fmean(values) for values in zip(*overlaps, strict=True))
    ms, new_ms = (median(times) * 1000 for times in zip(*_seconds(pairs), strict=True))
    return [Measure("overlap, replayed", overlap, new_overlap,
                    overlap - limits.overlap_loss - _standard_error(overlaps), "higher"),
            _share("ads returned", *returned, limits.ads_loss),
            Measure("search, median CPU ms", ms, new_ms, ms * (1 + limits.latency_rise), "lower")], len(overlaps)


def _overlaps(pairs: Sequence[_Pair], seconds: float) -> tuple[list[tuple[float, float]], tuple[int, int]]:
    """Overlaps of as many requests as fit into the time, at least one, and the distinct ads returned by all."""
    stop = time.monotonic() + seconds
    overlaps: list[tuple[float, float]] = []
    returned: tuple[set[int], set[int]] = (set(), set())
    for pair in pairs:
        found = [one.search() for one in pair]
        for rows, result in zip(returned, found, strict=True):
            rows.update(result.rows.tolist())
        if not overlaps or time.monotonic() < stop:
            now, new = (beam.overlap(one.search(exact=True)) for beam, one in zip(found, pair, strict=True))
            overlaps.append((now, new))
    return overlaps, (len(returned[0]), len(returned[1]))


def _standard_error(overlaps: Sequence[tuple[float, float]]) -> float:
    """Standard error of the mean difference: on few requests two equally good bundles differ by that much."""
    return stdev(new - now for now, new in overlaps) / len(overlaps) ** 0.5 if len(overlaps) > 1 else 0.0


def _seconds(pairs: Sequence[_Pair]) -> list[tuple[float, float]]:
    """Fastest search of each request in both bundles, alternating so that noise affects both alike."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in pairs]
    for _ in range(_ROUNDS):
        for pair, (now, new) in zip(pairs, times, strict=True):
            now.append(pair[0].seconds())
            new.append(pair[1].seconds())
    return [(min(now), min(new)) for now, new in times]


def _sealed(now: _OpenBundle, new: _OpenBundle, limits: GateLimits) -> list[Measure]:
    """Measures that need no replay: number of ads, and the quality that was measured at export."""
    rows = [_share("ads in the index", now.opened.content.tree.n_items, new.opened.content.tree.n_items,
                   limits.ads_loss)]
    before, after = _quality(now.opened), _quality(new.opened)
    for name, value in before.items():
        allowed = value - limits.overlap_loss if name == _OVERLAP else value * (1 - limits.recall_loss)
        rows.append(Measure(name, value, after.get(name), allowed, "higher"))
    return rows


def _quality(opened: Bundle) -> dict[str, float]:
    """Recall of the exhaustive search, and overlap of the default beam, where evaluation.json has them.

    A recall without a test user is null there, and left out here.
    """
    evaluation = opened.files.json(layout.EVALUATION)
    entries = evaluation if isinstance(evaluation, dict) else {}
    found = {f"{name}, sealed": float(value) for name, value in entries.items()
             if name.startswith("recall@") and value is not None}
    overlap = read_curve(opened).default.overlap
    return found if overlap is None else found | {_OVERLAP: overlap}


def _in_the_shadow(evidence: ShadowEvidence, limits: GateLimits) -> list[Measure]:
    """The measures of real answers; what was returned overlaps with itself, and is off by nothing."""
    ms, current_ms = evidence.seconds * 1000, evidence.current_seconds * 1000
    return [Measure("overlap with what was returned, shadow", 1.0, evidence.overlap, limits.shadow_overlap, "higher"),
            *(Measure(f"probability of {task} off by, shadow", 0.0, abs(drift), limits.shadow_drift, "lower")
              for task, drift in evidence.drift.items()),
            Measure("answer, mean CPU ms, shadow", current_ms, ms, current_ms * (1 + limits.latency_rise), "lower")]


def _share(name: str, now: int, new: int, loss: float) -> Measure:
    return Measure(name, now, new, ceil(now * (1 - loss)), "higher")


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
