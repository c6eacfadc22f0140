"""Exploration of an answer: draws newcomers by how uncertain their click rates are at this bundle's probabilities."""

from __future__ import annotations

import numpy as np

from index_store.bundle.bundle import BundleContent
from index_store.search.caps import Caps
from index_store.search.exploration import Exploration, explore, uncertainty
from index_store.search.ranking import SearchResult
from index_store.value.calibration import sigmoid
from service.contract.query import Exploring


def explored(content: BundleContent, found: SearchResult, exploring: Exploring, caps: Caps | None) -> Exploration:
    """Gives places of a result to newcomers.

    The click is the task that CPC bids pay for, or else the first. Without a calibration its probability is the
    sigmoid of the logit, which ranks newcomers, too.

    Args:
        content: of the bundle.
        found: with a pool.
        exploring: how.
        caps: of the search; None for none.
    """
    assert found.pool is not None, "whoever explores has searched for newcomers"
    logits, task = found.pool.logits, content.encoder.spec.paid.get("CPC") or 0
    probabilities = (sigmoid(logits[:, task]) if content.calibrations is None
                     else content.calibrations.probability(task, logits))
    return explore(found, uncertainty(found.pool, probabilities), share=exploring.share, caps=caps,
                   random=np.random.default_rng(exploring.seed))
