"""Exhaustive search: scores every eligible item. The ground truth for every overlap figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from index_store.search.caps import Caps
from index_store.search.deadline import Deadline
from index_store.search.ranking import NodeScorer, Query, SearchResult, SearchRun
from index_store.search.trace import SearchLog
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree
from index_store.value.valuation import Valuation


@dataclass(frozen=True)
class ExhaustiveSearch(Generic[Query]):
    """Scores every eligible item."""

    tree: Tree
    scorer: NodeScorer[Query]

    def search(self, query: Query, *, top_k: int, task_weights: NDArray[np.float32], eligible: Eligible | None = None,
               deadline: Deadline | None = None, valuation: Valuation | None = None,
               caps: Caps | None = None, trace: bool = False) -> SearchResult:
        """Finds the best items; the arguments are those of `BeamSearch.search`."""
        return SearchRun(self.tree, self.scorer, query, top_k, task_weights, eligible, deadline,
                         valuation, caps, SearchLog(trace)).rank_all()
