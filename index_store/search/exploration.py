"""Exploration: some places of an answer go to newcomers, drawn by how uncertain they are, with known probabilities.

Each place of the answer is given away with the same probability, and the item that ranked there is not shown. Who
comes is drawn from the pool without replacement, so that each newcomer is in the answer with a probability that is
known beforehand: Madow's systematic sampling, On the Theory of Systematic Sampling, II (1949), over inclusion
probabilities in proportion to the weights. So the propensity of an item, the probability that the answer shows it, is
exact and needs no simulation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.explain import Explanation
from index_store.search.newcomers import Pool
from index_store.search.ranking import SearchResult
from index_store.value.track_records import CLICKS, IMPRESSIONS

PRIOR = 50.0
"""Impressions that the model's probability counts for, beside an item's own ones."""

LEAST = 0.01
"""Smallest weight, as a share of the largest: keeps the probabilities of all newcomers above 0."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exploration:
    """An answer with some places given to newcomers.

    Attributes:
        shown: what is returned; as the search result, but for the places given away.
        explored: (K,) bool, the items at these places.
        propensities: (K,) float64, of each item the probability that an answer to the request shows it.
        displaced: (M,) int64 rows of the items that they took the places of.
        pool: (C,) int64 rows of the newcomers that could have come.
        inclusion: (C,) float64 their propensities.
        kept: the propensity of the items of the search result.
    """

    shown: SearchResult
    explored: NDArray[np.bool_]
    propensities: NDArray[np.float64]
    displaced: NDArray[np.int64]
    pool: NDArray[np.int64]
    inclusion: NDArray[np.float64]
    kept: float

    def explained(self, row: int, of_search: Explanation) -> Explanation:
        """The outcome for an item row, given that of the search."""
        if row in self.shown.rows[self.explored]:
            return replace(of_search, outcome="explored", cap=None)
        return replace(of_search, outcome="displaced") if row in self.displaced else of_search

    def propensity(self, row: int) -> float:
        """Probability that an answer to the request shows an item; 0 for one out of reach."""
        if row in self.displaced or row in self.shown.rows[~self.explored]:
            return self.kept
        return float(self.inclusion[self.pool == row].sum())


def explore(found: SearchResult, weights: NDArray[np.float64], *, share: float, caps: Caps | None,
            random: np.random.Generator) -> Exploration:
    """Gives a share of the places of a search result to newcomers of its pool.

    Under caps only those may be drawn that they allow beside the whole result and the other newcomers, heavier ones
    first: of a set that keeps the caps every part does.

    Args:
        found: with a pool.
        weights: (C,) of the pool, above 0.
        share: of the places, 0 to 0.5; fewer if the pool is smaller.
        caps: of the search; None for none.
        random: decides; the same generator yields the same answer.
    """
    assert found.pool is not None, "whoever explores has searched for newcomers"
    pool, places = found.pool, len(found.rows)
    if caps is not None:
        order = np.lexsort((pool.rows, -weights))
        passed = caps.passed(np.concatenate([found.rows, pool.rows[order]]))[places:]
        pool, weights = pool.take(order[passed]), weights[order[passed]]
    expected = min(share * places, float(len(pool)))
    inclusion = inclusion_probabilities(weights, expected)
    drawn = random.permutation(systematic_sample(inclusion, random))
    given = random.permutation(places)[:len(drawn)]
    kept = 1.0 - expected / places if places else 1.0
    explored, propensities = np.zeros(places, np.bool_), np.full(places, kept)
    explored[given], propensities[given] = True, inclusion[drawn]
    return Exploration(shown=_with_places(found, given, pool.take(drawn)), explored=explored,
                       propensities=propensities, displaced=found.rows[given], pool=pool.rows, inclusion=inclusion,
                       kept=kept)


def uncertainty(pool: Pool, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (C,) of newcomers: the standard deviation of their click rates, by eCPM that of what they pay.

    The posterior is a Beta distribution: the model's probability counts as PRIOR impressions, and the item's own
    impressions and clicks count beside it.

    Args:
        pool: the newcomers.
        probabilities: (C,) of a click, by the model.
    """
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    shown = np.maximum(pool.records[:, IMPRESSIONS], pool.records[:, CLICKS]).astype(np.float64)
    clicks = pool.records[:, CLICKS]
    total = PRIOR + shown
    mean = (PRIOR * p + clicks) / total
    deviation = np.sqrt(mean * (1 - mean) / (total + 1))
    weights = deviation if pool.ecpm is None else deviation * pool.ecpm / p
    raised: NDArray[np.float64] = np.maximum(weights, LEAST * weights.max(initial=0.0))
    return raised


def inclusion_probabilities(weights: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """Probabilities (C,) in proportion to weights, but for those that would be above 1, that add up to `expected`.

    Args:
        weights: (C,), above 0.
        expected: at most C.
    """
    if expected >= len(weights):
        return np.ones(len(weights))
    order = np.argsort(-weights, kind="stable")
    descending = weights[order]
    left = np.cumsum(descending[::-1])[::-1]  # of this weight and all smaller ones
    factors = (expected - np.arange(len(weights))) / left
    certain = int((factors * descending <= 1.0).argmax())  # the first that needs no more than 1
    probabilities = np.ones(len(weights))
    probabilities[order[certain:]] = factors[certain] * descending[certain:]
    return probabilities


def systematic_sample(inclusion: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """Distinct indices, each drawn with its own probability (C,); as many as these add up to, rounded up or down."""
    order = random.permutation(len(inclusion))
    whole = np.floor(np.concatenate([[0.0], np.cumsum(inclusion[order])]) + random.random())
    drawn: NDArray[np.int64] = order[whole[1:] > whole[:-1]]
    return drawn


def seed_of(request_id: str, user_id: bytes) -> int:
    """The seed of a request, the same on all machines: repeated with its id, a request is explored as before."""
    return int.from_bytes(hashlib.blake2b(request_id.encode() + b"\0" + user_id, digest_size=8).digest(), "little")


def _with_places(found: SearchResult, given: NDArray[np.int64], drawn: Pool) -> SearchResult:
    """The result with items (M,) of the pool at some places (M,)."""
    rows, scores, logits = found.rows.copy(), found.scores.copy(), found.logits.copy()
    rows[given], scores[given], logits[given] = drawn.rows, drawn.scores, drawn.logits
    ecpm = found.ecpm
    if ecpm is not None and drawn.ecpm is not None:
        ecpm = ecpm.copy()
        ecpm[given] = drawn.ecpm
    return replace(found, rows=rows, scores=scores, logits=logits, ecpm=ecpm, pool=None)
