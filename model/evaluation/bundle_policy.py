"""The policy of a bundle: the ads that its beam would return to the users of logged answers, and what it predicts.

It knows what it was sealed with: its own ads, users and histories, and no change since. So it is compared best on a log
that a bundle with the same ads wrote. Targeting is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.features.vocabulary import look_up
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import first_task_weights
from index_store.search.scoring import UserQuery
from index_store.targeting.eligibility import Eligible
from index_store.value.calibration import sigmoid
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import Valuation, ecpm_of
from model.data.tables import DataError
from model.evaluation.logged_answers import LoggedAnswers
from model.evaluation.off_policy import Target
from model.export.golden import user_input
from model.export.onnx_graphs import bundle_layers, onnx_user_tower
from model.progress.bars import Bar


@dataclass(frozen=True)
class _Answer:
    """The rows (K,) of an answer, and what they are predicted to bring (K,)."""

    rows: NDArray[np.int64]
    predicted: NDArray[np.float64]


class BundlePolicy:
    """Answers as a bundle does by default, by score or by eCPM.

    Args:
        opened: the bundle.
        by_ecpm: ranks by eCPM, which is then the reward too, in micros; otherwise by score, for a click.

    Raises:
        DataError: it has no calibration, which eCPM needs.
    """

    def __init__(self, opened: Bundle, by_ecpm: bool) -> None:
        content = opened.content
        if by_ecpm and content.calibrations is None:
            raise DataError(f"bundle {opened.bundle_id} holds no calibration, so there is no eCPM; export a run on "
                            "impressions that has test events, or estimate clicks")
        self._content, self._width = content, opened.manifest.search.beam_width
        self._tower = onnx_user_tower(opened.files.path(layout.USER_TOWER))
        self._scorer = content.scorer(bundle_layers(opened.files))
        self._beam = BeamSearch(content.tree, self._scorer)
        self._valuation = Valuation(content.calibrations, content.encoder.spec.paid,
                                    LiveBids.sealed(content.tree, content.bids)
                                    ) if by_ecpm and content.calibrations is not None else None

    def target(self, logged: LoggedAnswers) -> Target:
        """What it would have shown in each answer, as many ads as were shown."""
        rows = look_up(self._content.encoder.item_ids, logged.ads)
        probabilities, predicted = np.zeros(len(rows)), np.zeros(len(rows))
        expected = np.zeros(len(logged.users))
        bounds = np.searchsorted(logged.answers, np.arange(len(logged.users) + 1))
        for at, user_id in enumerate(Bar(logged.users.tolist(), desc="answers", unit="answer", leave=False)):
            shown = slice(bounds[at], bounds[at + 1])
            query, excluded = self._query(user_id)
            answer = self._answer(query, excluded, bounds[at + 1] - bounds[at])
            expected[at] = answer.predicted.sum()
            known = rows[shown] >= 0
            probabilities[shown] = np.isin(rows[shown], answer.rows) & known
            predicted[shown][known] = self._predicted(query, rows[shown][known])
        return Target(probabilities=probabilities, predicted=predicted, expected=expected)

    def _answer(self, query: UserQuery, excluded: NDArray[np.int64], top_k: int) -> _Answer:
        tree = self._content.tree
        found = self._beam.search(query, top_k=top_k, beam_width=self._width,
                                  task_weights=first_task_weights(len(self._content.encoder.spec.tasks)),
                                  eligible=Eligible.of(tree.n_items, None, excluded), valuation=self._valuation)
        return _Answer(found.rows, self._rewards(tree.position_of_row[found.rows].astype(np.int64), found.logits,
                                                 found.scores))

    def _predicted(self, query: UserQuery, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        positions = self._content.tree.position_of_row[rows].astype(np.int64)
        distinct, inverse = np.unique(positions, return_inverse=True)
        if not len(distinct):
            return np.empty(0)
        logits = self._scorer.score(query, self._content.tree.depth, distinct)
        return self._rewards(distinct, logits, logits[:, 0])[inverse]

    def _rewards(self, positions: NDArray[np.int64], logits: NDArray[np.float32],
                 scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Expected rewards (C,) of items with these logits (C, tasks)."""
        if self._valuation is not None:
            return ecpm_of(self._valuation.of_items(positions, logits, scores))
        click, calibrations = self._content.encoder.spec.paid.get("CPC") or 0, self._content.calibrations
        return sigmoid(logits[:, click]) if calibrations is None else calibrations.probability(click, logits)

    def _query(self, user_id: bytes) -> tuple[UserQuery, NDArray[np.int64]]:
        """The query of a user, unknown ones too, and the positions that it leaves out."""
        content, row = self._content, self._content.users.row(user_id)
        if row < 0:
            features, history = content.encoder.encode_user({}), np.empty(0, np.int32)
        else:
            features, history = content.users.features.take(np.array([row])), content.users.history.row(row)
        left_out = history if content.encoder.spec.exclude_history else history[:0]
        excluded = content.tree.position_of_row[left_out].astype(np.int64)
        return content.query(self._tower(user_input(content, features, history)), features, history), excluded
