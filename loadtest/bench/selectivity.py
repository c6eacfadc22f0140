"""Selectivity x correlation: searches under real targeting that accepts few ads, with the score and against it.

The ads of any bundle carry the targetings of `snap-ads` (model/sources/snap_ads.py), the requests are users of its
synthetic population. In the row `as drawn` the ads carry them as often as the ads of the file do. In a cell of the
sweep, a share of the ads is chosen to be eligible for the user: these carry targetings that accept the user, the others
such as do not, each as often as in the file. They are chosen by CORRELATION x the ad's rank by score (as a normal
quantile) plus noise: with the score, regardless of it, or against it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from index_store.bundle.bundle import Bundle
from index_store.features.encoder import FeatureEncoder
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.targeting.attributes import Attributes
from index_store.targeting.predicates import parse_text
from index_store.targeting.targeting import AdTargeting, RequestTargeting, Targeting
from loadtest.bench.plain_predicates import holds
from loadtest.bench.report import table
from loadtest.rivals.searches import TOP_K
from model.data.tables import DataError
from model.progress.bars import Bar
from model.sources.ad_targeting import AUDIENCE, PLACE
from model.sources.draws import Draws
from model.sources.population import Population
from model.sources.snap_ads import SnapAds
from service.contract.query import EncodedUser, Query, SearchOptions
from service.retrieval.retriever import Retriever

SHARES = (0.5, 0.05, 0.005, 0.0005)
CORRELATION = 0.5
SIDES = {"with the score": CORRELATION, "none": 0.0, "against it": -CORRELATION}
TIMED = 3
"""Searches of each kind that are timed for a user, after one that is not."""


def selectivity(folder: Path, source: Path, *, queries: int, seed: int) -> dict[str, Any]:
    """Measures one bundle.

    Returns:
        `ads`, `queries`, `targetings`; `rows`: `untargeted`, `as drawn` and one for each share and correlation, each
        with `name`, `eligible`, `pairs`, `overlap@100` (means), `p50_ms`, `p99_ms` (bitmap of the signature cached),
        `ratio`, `cold_p50_ms` (computed each time), `cold_ratio`, and the checks: `ineligible` (ads returned that are
        not), `equal` (the eligible set is that of every targeting evaluated plainly), `full` (every answer has min(K,
        eligible) ads), `sound` (all of these).

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no users, or the source cannot be used.
    """
    opened = Bundle.open(folder)
    users = np.random.default_rng([seed, 0]).permutation(len(opened.content.users.ids))[:queries]
    if not len(users):
        raise DataError(f"bundle {opened.bundle_id} has no users; export a run that has users")
    sweep = _Sweep.of(opened, SnapAds.read(source), seed)
    rows: dict[str, list[dict[str, float]]] = {}
    for number, row in enumerate(Bar(users, desc="selectivity", unit="user")):
        for name, found in sweep.measured(int(row), number):
            rows.setdefault(name, []).append(found)
    report = [_summary(name, found) for name, found in rows.items()]
    for one in report:
        one["ratio"], one["cold_ratio"] = (one[key] / report[0]["p50_ms"] for key in ("p50_ms", "cold_p50_ms"))
    return {"ads": opened.content.tree.n_items, "queries": len(users), "targetings": len(sweep.texts), "rows": report}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [(one["name"], f"{one['eligible']:,.0f}", f"{one['pairs']:,.0f}", f"{one['overlap@100']:.3f}",
             f"{one['p50_ms']:.2f}", f"{one['ratio']:.2f}", f"{one['p99_ms']:.2f}", f"{one['cold_p50_ms']:.2f}",
             f"{one['cold_ratio']:.2f}", f"{one['ineligible']:.0f}", "yes" if one["sound"] else "NO")
            for one in report["rows"]]
    head = ("eligible ads", "number", "pairs", "overlap@100", "p50", "x", "p99", "cold p50", "x", "ineligible", "sound")
    return "\n".join([
        f"{report['ads']:,} ads with {report['targetings']:,} distinct targetings, {report['queries']:,} users on one "
        "thread, times in milliseconds; x: over untargeted.", "", table(head, rows)])


def _summary(name: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    warm, cold = (np.concatenate([one[key] for one in found]) * 1e3 for key in ("warm", "cold"))
    result = {"name": name, **{key: float(np.mean([one[key] for one in found]))
                               for key in ("eligible", "pairs", "overlap@100")}}
    result |= {"p50_ms": float(np.median(warm)), "p99_ms": float(np.quantile(warm, 0.99)),
               "cold_p50_ms": float(np.median(cold)), "ineligible": int(sum(one["ineligible"] for one in found)),
               **{key: all(one[key] for one in found) for key in ("equal", "full")}}
    return result | {"sound": result["equal"] and result["full"] and not result["ineligible"]}


@dataclass(frozen=True)
class _Sweep:
    """One bundle whose ads carry other targetings for each search.

    Attributes:
        retriever: of the bundle.
        everyone: targeting without predicates.
        ads: the targetings compiled, numbered from 1; carried by no ad yet.
        texts: the same as decoded JSON.
        weights: (T,) share of the file's ads that have each.
        population: of the users.
        encoder: of the bundle, with the audience's fields.
        own: names of the audience's fields that the bundle declares for users itself.
    """

    retriever: Retriever
    everyone: Targeting
    ads: AdTargeting
    texts: list[dict[str, Any]]
    weights: NDArray[np.float64]
    population: Population
    encoder: FeatureEncoder
    own: frozenset[str]
    seed: int

    @classmethod
    def of(cls, opened: Bundle, snap: SnapAds, seed: int) -> _Sweep:
        content, spec = opened.content, opened.content.encoder.spec
        fresh = tuple(field for field in (*AUDIENCE, PLACE) if field.name not in spec.audience_kinds)
        spec = replace(spec, context_fields=(*spec.context_fields, *fresh))
        encoder = replace(content.encoder, spec=spec)
        texts = list(snap.frequencies)
        ads = AdTargeting.of(encoder, [parse_text(text, spec.audience_kinds) for text in texts],
                             np.zeros(content.tree.n_items, np.int32))
        counts = np.array(list(snap.frequencies.values()), np.float64)
        return cls(Retriever(opened), Targeting(encoder, content.items, content.tree, None), ads,
                   [json.loads(text) for text in texts], counts / counts.sum(),
                   Population(snap.rows, Draws(seed)), encoder, frozenset(f.name for f in spec.user_fields), seed)

    def measured(self, row: int, number: int) -> list[tuple[str, dict[str, Any]]]:
        """All searches of one user, by the name of their row in the report."""
        random = np.random.default_rng([self.seed, 1, number])
        person = self.population.people(np.array([number])).contexts()[0]
        accepts = np.array([holds(text, person) for text in self.texts])
        content = self.retriever.bundle.content
        user = self.retriever.encode(Query(user_id=content.users.ids[row], top_k=TOP_K,
                                           task_weights=self._task_weights))
        scores = self._scores(user)
        found = [("untargeted", self._found(user, person, self.everyone, self.everyone, scores, None))]
        drawn = 1 + random.choice(len(self.weights), len(scores), p=self.weights)
        found.append(("as drawn", self._targeted(user, person, drawn, accepts, scores)))
        if not (self.weights[accepts].any() and self.weights[~accepts].any()):
            return found
        rank = np.empty(len(scores))
        rank[np.argsort(scores)] = ndtri((np.arange(len(scores)) + 0.5) / len(scores))
        for side, correlation in SIDES.items():
            liking = correlation * rank + np.sqrt(1 - correlation**2) * random.normal(size=len(scores))
            for share in SHARES:
                chosen = np.argpartition(-liking, n := max(1, round(share * len(scores))))[:n]
                drawn = self._carried(~accepts, len(scores), random)
                drawn[chosen] = self._carried(accepts, n, random)
                found.append((f"{share:.2%}, {side}", self._targeted(user, person, drawn, accepts, scores)))
        return found

    @property
    def _task_weights(self) -> NDArray[np.float32]:
        return first_task_weights(len(self.retriever.bundle.manifest.tasks))

    def _carried(self, among: NDArray[np.bool_], n: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Numbers (n,) of targetings among some (T,), drawn as often as in the file."""
        weights = self.weights * among
        return 1 + random.choice(len(weights), n, p=weights / weights.sum())

    def _scores(self, user: EncodedUser) -> NDArray[np.float32]:
        """Scores of all positions."""
        tree, scorer, query = self.retriever.bundle.content.tree, self.retriever.scorer, self.retriever.query(user)
        return np.concatenate([scorer.score(query, tree.depth, part) @ self._task_weights for part in
                               np.array_split(np.arange(tree.n_items), tree.n_items // (1 << 14) + 1)])

    def _targeted(self, user: EncodedUser, person: Mapping[str, Any], drawn: NDArray[np.int64],
                  accepts: NDArray[np.bool_], scores: NDArray[np.float32]) -> dict[str, Any]:
        """A search where the ads at the positions carry these targetings."""
        content = self.retriever.bundle.content
        ads = replace(self.ads, of_position=drawn.astype(np.int32))
        ads.near(np.zeros(len(self.texts) + 1, np.bool_))  # what is made once for a bundle is not timed
        warm, cold = (Targeting(self.encoder, content.items, content.tree, ads, entries) for entries in (256, 0))
        return self._found(user, person, warm, cold, scores, accepts[drawn - 1])

    def _found(self, user: EncodedUser, person: Mapping[str, Any], warm: Targeting, cold: Targeting,
               scores: NDArray[np.float32], eligible: NDArray[np.bool_] | None) -> dict[str, Any]:
        tree, times, result = self.retriever.bundle.content.tree, {}, None
        for name, targeting in (("cold", cold), ("warm", warm)):
            times[name] = np.empty(TIMED)
            for at in range(-1, TIMED):
                start = time.perf_counter()
                attributes = self._attributes(targeting, person)
                result = self._search(targeting, replace(user, targeting=RequestTargeting(attributes)))
                times[name][at] = time.perf_counter() - start  # overwrites the first
        assert result is not None
        members = np.arange(tree.n_items) if eligible is None else np.flatnonzero(eligible)
        truth = members[np.lexsort((tree.rows[members], -scores[members]))[:TOP_K]]
        positions = tree.position_of_row[result.rows]
        bitmap = warm.eligible(RequestTargeting(attributes))
        return times | {"eligible": len(members), "pairs": result.pairs_scored, "full": len(positions) == len(truth),
                        "overlap@100": float(np.isin(truth, positions).mean()) if len(truth) else 1.0,
                        "ineligible": 0 if eligible is None else int((~eligible[positions]).sum()),
                        "equal": bitmap is None if eligible is None else
                        np.array_equal(members, np.arange(tree.n_items) if bitmap is None else bitmap.positions())}

    def _attributes(self, targeting: Targeting, person: Mapping[str, Any]) -> Attributes:
        given, context = ({name: value for name, value in person.items() if (name in self.own) == own}
                          for own in (True, False))
        return targeting.attributes(None, given, context)

    def _search(self, targeting: Targeting, user: EncodedUser) -> SearchResult:
        self.retriever.targeting = targeting
        options = SearchOptions(top_k=TOP_K, beam_width=self.retriever.bundle.manifest.search.beam_width, exact=False,
                                task_weights=self._task_weights, excluded=np.empty(0, np.int64))
        return self.retriever.search(user, options)
