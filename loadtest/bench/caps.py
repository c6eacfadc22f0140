"""`python -m loadtest caps`: searches under random caps against a plain walk over all ads.

    python -m loadtest caps --bundle bundles/synthetic --requests 10000

Each request has a random user, `top_k` of 1 to 100, and caps of 1 to 10 on one to three categorical ad fields. The
exhaustive search has to return what a loop over all ads by rank takes, and the beam as many ads as that with one cap,
where that is the most that the cap allows, or ads to which none could be added with several.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import first_task_weights
from model.data.tables import DataError
from model.progress.bars import Bar
from service.contract.query import Query
from service.retrieval.retriever import Retriever

MOST_K, MOST_PER = 100, 10
USERS = 200
"""Users whose ads are ranked beforehand; requests are theirs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle with users and categorical ad fields")
    parser.add_argument("--requests", type=int, default=1_000, help="random requests (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the requests (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object. Exit status: 0 all as expected, 1 some not, or the bundle cannot be used."""
    try:
        report = caps(args.bundle, requests=args.requests, seed=args.seed)
    except (BundleError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report))
    return 0 if report["exact"] == report["beam"] == report["requests"] else 1


def caps(folder: Path, *, requests: int, seed: int) -> dict[str, Any]:
    """Compares searches of one bundle.

    Returns:
        `requests`, and how many of them were as expected: `exact`, `beam`; `short`, those whose caps allow fewer ads
        than asked for.

    Raises:
        BundleError: it cannot be opened.
        DataError: it has no users, or no field that can be capped.
    """
    retriever = Retriever(Bundle.open(folder))
    content, width = retriever.bundle.content, retriever.bundle.manifest.search.beam_width
    fields = content.encoder.spec.fields("item", "categorical")
    if not fields or not len(content.users.ids):
        raise DataError(f"bundle {retriever.bundle.bundle_id} has no users, or no categorical ad field; export another")
    random, weights = np.random.default_rng(seed), first_task_weights(len(retriever.bundle.manifest.tasks))
    exhaustive = ExhaustiveSearch(content.tree, retriever.scorer)
    beam = BeamSearch(content.tree, retriever.scorer)
    users = random.permutation(content.users.ids)[:USERS].tolist()
    queries = [retriever.query(retriever.encode(Query(user_id=user, top_k=1, task_weights=weights))) for user in users]
    ranked = [exhaustive.search(query, top_k=content.tree.n_items, task_weights=weights).rows for query in queries]
    found = dict.fromkeys(("exact", "beam", "short"), 0)
    for _ in Bar(range(requests), desc="requests", leave=False):
        user, top_k = int(random.integers(len(users))), int(random.integers(1, MOST_K + 1))
        named = random.permutation(fields)[:random.integers(1, min(3, len(fields)) + 1)].tolist()
        max_per = {name: int(random.integers(1, MOST_PER + 1)) for name in named}
        values = content.items.categorical[:, [fields.index(name) for name in named]]
        expected = _walk(ranked[user], values, list(max_per.values()), top_k)
        held = retriever.caps(max_per, retriever.sealed)
        exact = exhaustive.search(queries[user], top_k=top_k, task_weights=weights, caps=held).rows
        near = beam.search(queries[user], top_k=top_k, beam_width=width, task_weights=weights, caps=held).rows
        taken = _walk(near, values, list(max_per.values()), top_k)
        full = len(near) == len(expected) if len(named) == 1 else len(near) == top_k or not _addable(
            near, values, list(max_per.values()))
        found["exact"] += exact.tolist() == expected
        found["beam"] += taken == near.tolist() and full
        found["short"] += len(expected) < top_k
    return {"requests": requests, **found}


def _walk(rows: NDArray[np.int64], values: NDArray[np.int32], most: list[int], top_k: int) -> list[int]:
    """The rows (N,), best first, that a loop takes until it has enough, by the values (items, caps) of all rows."""
    counts: dict[tuple[int, int], int] = {}
    taken: list[int] = []
    for row in rows.tolist():
        keys = list(enumerate(values[row].tolist()))
        if len(taken) < top_k and all(counts.get(key, 0) < most[key[0]] for key in keys):
            taken.append(row)
            for key in keys:
                counts[key] = counts.get(key, 0) + 1
        if len(taken) == top_k:
            break
    return taken


def _addable(rows: NDArray[np.int64], values: NDArray[np.int32], most: list[int]) -> bool:
    """Whether some row that is not among others (K,) keeps the caps beside them."""
    free = ~np.isin(np.arange(len(values)), rows)
    for cap, limit in enumerate(most):
        counted, counts = np.unique(values[rows, cap], return_counts=True)
        free &= ~np.isin(values[:, cap], counted[counts >= limit])
    return bool(free.any())
