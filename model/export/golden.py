"""Golden requests: the torch model's answers, stored in the bundle, and the parity check of the exported graphs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.bundle.bundle import BundleContent
from index_store.bundle.graphs import score_gaps, score_tolerance
from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import dense_inputs, pool, user_bags
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import first_task_weights
from index_store.search.scoring import DenseLayers, UserQuery
from index_store.targeting.targeting import RequestTargeting, Targeting
from model.export.errors import ParityError
from model.network.folding import torch_layers
from model.network.monn import MoNN, Scorer

PARITY_NODES = 1 << 20
"""Most nodes of a level that torch is compared on for one user: a minute and a half for all users."""

USERS = 8
TOP_K = 20


@dataclass(frozen=True)
class GoldenUser:
    """A request and its encoded user: features of one row, history (M,) of item rows."""

    request: dict[str, Any]
    features: Features
    history: NDArray[np.int32]

    def context(self, content: BundleContent) -> NDArray[np.int32]:
        """Ids of the context fields that the model reads."""
        return content.encoder.encode_context(self.request.get("context", {}))


def golden_users(content: BundleContent) -> list[GoldenUser]:
    """Some users of the bundle, one with inline features, and one who is not in the bundle; the first in contexts."""
    users = content.users
    rows = np.sort(np.random.default_rng(0).permutation(len(users.ids))[:USERS])
    chosen = [GoldenUser(_request(user_id=users.ids[row].decode(), **_context(content, at)),
                         users.features.take(np.array([row])), users.history.row(row)) for at, row in enumerate(rows)]
    history = users.history.row(int(np.argmax(np.diff(users.history.indptr))))[:5]
    featureless = content.encoder.encode_user({})
    inline = {"history": [content.encoder.item_ids[row].decode() for row in history]}
    return [*chosen, GoldenUser(_request(user_id="golden-inline", user_features=inline), featureless, history),
            GoldenUser(_request(user_id="golden-unknown"), featureless, np.empty(0, np.int32))]


def _request(**fields: Any) -> dict[str, Any]:
    return {**fields, "top_k": TOP_K, "exact": True}


def _context(content: BundleContent, at: int) -> dict[str, Any]:
    """The context of a request, another value for each; none where the model reads none."""
    values = {field.name: content.encoder.vocabularies[f"context.{field.name}"]
              for field in content.encoder.spec.model_context if not field.serve_as}
    context = {name: known[at % len(known)].decode() for name, known in values.items() if len(known)}
    return {"context": context} if context else {}


def golden_answers(content: BundleContent, model: MoNN, users: list[GoldenUser]) -> list[dict[str, Any]]:
    """The exact answers of the torch model, in the form of `golden.json`."""
    search = ExhaustiveSearch(content.tree, content.scorer(torch_scorers(model)))
    answers, weights = [], first_task_weights(len(content.encoder.spec.tasks))
    targeting = Targeting(content.encoder, content.items, content.tree, content.targeting)
    for user in users:
        known = content.users.row(user.request["user_id"].encode()) >= 0
        eligible = targeting.eligible(RequestTargeting(targeting.attributes(
            user.features if known else None, context=user.request.get("context", {}))))
        found = search.search(_torch_query(content, model, user), top_k=TOP_K, task_weights=weights,
                              eligible=eligible)
        answers.append({"request": user.request, "ads": [
            {"ad_id": content.encoder.item_ids[row].decode(), "score": float(score),
             "logits": [float(v) for v in logits]}
            for row, score, logits in zip(found.rows, found.scores, found.logits, strict=True)]})
    return answers


def check_parity(content: BundleContent, original: BundleContent, model: MoNN,
                 tower: Callable[[NDArray[np.float32]], NDArray[np.float32]],
                 scorings: Sequence[Sequence[DenseLayers]], users: list[GoldenUser]) -> float:
    """Scores nodes and items for every golden user by the exported arrays and each of some scorings, and by torch.

    It is all of them, or as many of a level as PARITY_NODES, others for each user. A scoring has the scorers of all
    levels, as graphs or as compiled kernels.

    Returns:
        The largest of the `score_gaps` between two logits.

    Raises:
        ParityError: it exceeds `score_tolerance`.
    """
    exported, trained = [content.scorer(layers) for layers in scorings], original.scorer(torch_scorers(model))
    allowed = score_tolerance(content.embeddings[-1])
    worst, tree = 0.0, content.tree
    for at, user in enumerate(users):
        embedding, random = tower(user_input(content, user.features, user.history)), np.random.default_rng(at)
        queries = [content.query(embedding, user.features, user.history, user.context(content)) for _ in exported]
        reference = _torch_query(original, model, user)
        gap = 0.0
        for level in range(1, tree.depth + 1):
            size = tree.size(level)
            nodes = np.arange(size) if size <= PARITY_NODES else np.sort(random.choice(size, PARITY_NODES, False))
            expected = trained.score(reference, level, nodes)
            for scorer, query in zip(exported, queries, strict=True):
                found = scorer.score(query, level, nodes)
                gap = float(np.maximum(gap, score_gaps(found, expected).max()))  # NaN stays NaN
        if not gap <= allowed:
            remedy = "" if content.embeddings[-1].dtype == np.float32 else (
                "; half precision may be too coarse for this model: try --float32")
            raise ParityError(f"the exported scorer and torch differ by {gap:.2e} on golden request "
                              f"{json.dumps(user.request)}; at most {allowed} is allowed, so nothing was "
                              f"written{remedy}")
        worst = max(worst, gap)
    return worst


def torch_scorers(model: MoNN) -> list[DenseLayers]:
    """The scorers of the torch model as functions, in a stack each with its weight in the ensemble."""
    return torch_layers([Scorer(model, at).eval() for at in range(len(model.scorers))])


def _torch_query(content: BundleContent, model: MoNN, user: GoldenUser) -> UserQuery:
    spec = content.encoder.spec
    bags = user_bags(spec, user.features, Ragged.one_row(user.history), content.item_keys)
    dense = torch.from_numpy(dense_inputs(spec, "user", user.features.dense))
    with torch.no_grad():
        embedding = model.embed_users(dense, bags).numpy()
    return content.query(embedding, user.features, user.history, user.context(content))


def user_input(content: BundleContent, features: Features, history: NDArray[np.int32]) -> NDArray[np.float32]:
    """The user tower's input for one user: (1, D_in) float32."""
    spec = content.encoder.spec
    bags = user_bags(spec, features, Ragged.one_row(history), content.item_keys)
    return pool(content.tables, dense_inputs(spec, "user", features.dense), bags)
