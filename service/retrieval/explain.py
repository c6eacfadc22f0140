"""Why a search returned an ad or did not: what withholds it, where the beam left it, what context adds to its score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import as_key
from index_store.live.snapshot import Snapshot
from index_store.search.explain import Explainer
from index_store.search.exploration import Exploration
from index_store.speculation.corrections import Corrections
from service.contract.answer import AdExplanation, ContextEffect, Exclusion
from service.contract.query import EncodedUser, Query

if TYPE_CHECKING:
    from service.retrieval.retriever import Retriever


@dataclass(frozen=True)
class Searched:
    """A query that has been searched for.

    Attributes:
        user: of the query.
        snapshot: that it was answered from.
        embedding: (1, Du) float32 of the user.
        exploration: what it explored; None for nothing.
        corrections: what the pairs of a foundation model add; None where none are known.
    """

    query: Query
    user: EncodedUser
    snapshot: Snapshot
    embedding: NDArray[np.float32]
    exploration: Exploration | None
    corrections: Corrections | None = None


def explain_ad(retriever: Retriever, explainer: Explainer, searched: Searched, ad_id: str | int) -> AdExplanation:
    """Explains an ad that the snapshot knows.

    Args:
        retriever: that has searched.
        explainer: of the search.
        searched: the query.
        ad_id: of the ad.
    """
    query, user, snapshot, exploration = searched.query, searched.user, searched.snapshot, searched.exploration
    key = as_key(ad_id, "ad_id")
    row = snapshot.row(key)
    assert row is not None, "whoever asks has looked"
    withdrawal = snapshot.withdrawal(row)
    refusal = retriever.targeting.refusal(row, user.targeting, snapshot.changed)
    named = row in retriever.excluded(replace(query, exclude_history=False), user, snapshot)
    excluded: Exclusion | None = ("exclude_ad_ids" if named else
                                  "exclude_history" if row in retriever.excluded(query, user, snapshot) else None)
    held = None if user.gate is None else user.gate.held(int(snapshot.positions(np.array([row]))[0]))
    eligible = withdrawal is None and refusal is None and held is None and excluded is None
    of_search = explainer.explain(row, eligible)
    if exploration is not None:
        of_search = exploration.explained(row, of_search)
    return AdExplanation(key.decode(), of_search, withdrawal, refusal, held, excluded,
                         None if exploration is None else exploration.propensity(row),
                         _in_context(retriever, searched, row))


def _in_context(retriever: Retriever, searched: Searched, row: int) -> ContextEffect | None:
    """Scores of an item row with and without the context; None if the model reads none, or its shard is away."""
    content, snapshot = retriever.bundle.content, searched.snapshot
    if content.context is None:
        return None
    scores = []
    for one in (searched.user, replace(searched.user, context=None)):
        query = retriever.query(one, searched.embedding, snapshot, searched.corrections)
        scores.append(retriever.scorer.score(query, content.tree.depth,
                                             snapshot.positions(np.array([row])))[0] @ searched.query.task_weights)
    if np.isnan(scores).any():  # the shard that holds it is away
        return None
    return ContextEffect(*map(float, scores))
