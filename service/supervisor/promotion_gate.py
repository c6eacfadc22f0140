"""Is a bundle as good as the one that serves? Both answer the same requests in turn; one that is worse does not pass.

It opens both bundles and computes for seconds: for a process of its own, at low priority. Knows nothing of HTTP,
pointers or workers, and takes for granted that the candidate's files were verified.
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
from index_store.features.values import FeatureError
from index_store.search.ranking import SearchResult
from index_store.targeting.predicates import PredicateError
from service.contract.errors import ErrorType, ServiceError, from_feature_error, from_predicate_error
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.contract.query import EncodedUser, SearchOptions
from service.retrieval.retriever import Retriever, read_curve
from service.settings import Settings

_OVERLAP = "overlap, sealed"
_ROUNDS = 3
"""Timed searches of each request in each bundle; the fastest counts."""


@dataclass(frozen=True)
class GateLimits:
    """How much worse than the current bundle a candidate may be, and how long the comparison may take.

    Attributes:
        overlap_loss: of overlap with the exhaustive answer, absolute; a replay may lose its standard error too.
        recall_loss: share of the sealed recall.
        ads_loss: share of the ads in the index, and of the distinct ads that the requests return.
        latency_rise: share of the median search.
        seconds: for exhaustive searches, both bundles together.
    """

    overlap_loss: float
    recall_loss: float
    ads_loss: float
    latency_rise: float
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> GateLimits:
        return cls(settings.gate_overlap_loss, settings.gate_recall_loss, settings.gate_ads_loss,
                   settings.gate_latency_rise, settings.gate_seconds)


@dataclass(frozen=True)
class Comparison:
    """One measure of both bundles.

    Attributes:
        candidate: None where its evaluation.json does not hold what that of the current bundle does.
        allowed: the worst value with which the candidate passes.
    """

    measure: str
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
class Verdict:
    """What the comparison found; `basis` says in words what was replayed, `refusals` why the candidate refused."""

    rows: tuple[Comparison, ...]
    basis: str
    refusals: Mapping[ErrorType, int]

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def text(self) -> str:
        """All measures as an aligned table, those that do not pass marked."""
        cells = [("measure", "current", "candidate", "allowed", "")]
        cells += [(row.measure, _shown(row.current), "none" if row.candidate is None else _shown(row.candidate),
                   ("at least " if row.better == "higher" else "at most ") + _shown(row.allowed),
                   "" if row.passed else "WORSE") for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join((name.ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                     zip(rest[:-1], widths[1:-1], strict=True)), rest[-1])).rstrip()
                 for name, *rest in cells]
        refused = [f"the candidate refused {count} with {kind}" for kind, count in self.refusals.items()]
        return "\n".join([*lines, "; ".join([self.basis, *refused])])


def judge(candidate: Path, current: Path, requests: Sequence[bytes], limits: GateLimits) -> Verdict:
    """Compares two bundles on the same requests.

    Args:
        candidate: folder of the bundle that shall serve.
        current: folder of the one that does.
        requests: bodies of POST /retrieve. All are answered by the beam; `budget_ms`, which would choose it by the
            clock, counts as absent. Where the current bundle answers none of them, its golden requests are asked.
        limits: what may be worse, and by how much.

    Raises:
        BundleError: one of the bundles is broken.
    """
    with _Side(current) as now, _Side(candidate) as new:
        answered = [(body, asked) for body in requests if isinstance(asked := now.prepare(body), _Asked)]
        source = "recorded"
        if not answered:
            golden = [orjson.dumps(entry["request"]) for entry in now.opened.golden]
            answered = [(body, asked) for body in golden if isinstance(asked := now.prepare(body), _Asked)]
            source = "golden"
        pairs: list[tuple[_Asked, _Asked]] = []
        refusals: Counter[ErrorType] = Counter()
        for body, asked in answered:
            other = new.prepare(body)
            if isinstance(other, _Asked):
                pairs.append((asked, other))
            else:
                refusals[other] += 1
        rows = [Comparison("refused requests", 0, refusals.total(), 0, "lower"), *_sealed(now, new, limits)]
        exhaustive = 0
        if pairs:
            overlaps, returned = _overlaps(pairs, limits.seconds)
            exhaustive = len(overlaps)
            overlap, new_overlap = (fmean(values) for values in zip(*overlaps, strict=True))
            ms, new_ms = (median(times) * 1000 for times in zip(*_seconds(pairs), strict=True))
            rows += [Comparison("overlap, replayed", overlap, new_overlap,
                                overlap - limits.overlap_loss - _standard_error(overlaps), "higher"),
                     _share("ads returned", *returned, limits.ads_loss),
                     Comparison("search, median CPU ms", ms, new_ms, ms * (1 + limits.latency_rise), "lower")]
        basis = f"{len(answered)} {source} requests, {exhaustive} of them searched exhaustively too"
        return Verdict(tuple(rows), basis, dict(refusals))


class _Side:
    """One of the two bundles, open as long as the context."""

    def __init__(self, folder: Path) -> None:
        self.opened = Bundle.open(folder, verify=False)
        self._retriever = Retriever(self.opened)
        self._fields = frozenset(field.name for field in self.opened.content.encoder.spec.user_fields)

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._retriever.close()

    def prepare(self, body: bytes) -> _Asked | ErrorType:
        """A request ready to be searched for, or why this bundle refuses it."""
        retriever = self._retriever
        try:
            query = replace(to_query(parse_body(body), self.opened.manifest, UNLIMITED), exact=False, budget_ms=None)
            user = retriever.encode(query)
            excluded = retriever.item_rows(query.exclude_ad_ids)
        except ServiceError as error:
            return error.error_type
        except FeatureError as error:
            return from_feature_error(error, self._fields).error_type
        except PredicateError as error:
            return from_predicate_error(error).error_type
        beam = retriever.beam_of(query, retriever.eligible(user, excluded))
        return _Asked(retriever, user, retriever.embed(retriever.tower_input(user)),
                      SearchOptions(query.top_k, beam.beam_width, False, query.task_weights, excluded))


@dataclass(frozen=True)
class _Asked:
    """A request as one bundle reads it."""

    retriever: Retriever
    user: EncodedUser
    embedding: NDArray[np.float32]
    options: SearchOptions

    def search(self, *, exact: bool = False) -> SearchResult:
        return self.retriever.search(self.user, replace(self.options, exact=exact), self.embedding)

    def seconds(self) -> float:
        """Processor time of one search, which other processes disturb less than the clock's."""
        start = time.thread_time()
        self.search()
        return time.thread_time() - start


def _overlaps(pairs: Sequence[tuple[_Asked, _Asked]],
              seconds: float) -> tuple[list[tuple[float, float]], tuple[int, int]]:
    """Overlaps of as many requests as fit into the time, the first in any case, and distinct ads returned by all."""
    stop = time.monotonic() + seconds
    overlaps: list[tuple[float, float]] = []
    returned: tuple[set[int], set[int]] = (set(), set())
    for asked in pairs:
        found = [one.search() for one in asked]
        for rows, result in zip(returned, found, strict=True):
            rows.update(result.rows.tolist())
        if not overlaps or time.monotonic() < stop:
            now, new = (beam.overlap(one.search(exact=True)) for beam, one in zip(found, asked, strict=True))
            overlaps.append((now, new))
    return overlaps, (len(returned[0]), len(returned[1]))


def _standard_error(overlaps: Sequence[tuple[float, float]]) -> float:
    """Of the mean difference: that much two equally good bundles differ on few requests."""
    return stdev(new - now for now, new in overlaps) / len(overlaps) ** 0.5 if len(overlaps) > 1 else 0.0


def _seconds(pairs: Sequence[tuple[_Asked, _Asked]]) -> list[tuple[float, float]]:
    """Fastest search of each request in both bundles, which take turns, so that noise meets both alike."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in pairs]
    for _ in range(_ROUNDS):
        for asked, (now, new) in zip(pairs, times, strict=True):
            now.append(asked[0].seconds())
            new.append(asked[1].seconds())
    return [(min(now), min(new)) for now, new in times]


def _sealed(now: _Side, new: _Side, limits: GateLimits) -> list[Comparison]:
    """What needs no replay: size, and the quality that was measured at export."""
    rows = [_share("ads in the index", now.opened.content.tree.n_items, new.opened.content.tree.n_items,
                   limits.ads_loss)]
    before, after = _quality(now.opened), _quality(new.opened)
    for measure, value in before.items():
        allowed = value - limits.overlap_loss if measure == _OVERLAP else value * (1 - limits.recall_loss)
        rows.append(Comparison(measure, value, after.get(measure), allowed, "higher"))
    return rows


def _quality(opened: Bundle) -> dict[str, float]:
    """Recall of the exhaustive search, and overlap of the default beam, where evaluation.json has them."""
    evaluation = opened.files.json(layout.EVALUATION)
    entries = evaluation if isinstance(evaluation, dict) else {}
    found = {f"{name}, sealed": float(value) for name, value in entries.items() if name.startswith("recall@")}
    overlap = read_curve(opened).default.overlap
    return found if overlap is None else found | {_OVERLAP: overlap}


def _share(measure: str, now: int, new: int, loss: float) -> Comparison:
    return Comparison(measure, now, new, ceil(now * (1 - loss)), "higher")


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
