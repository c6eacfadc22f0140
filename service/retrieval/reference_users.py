"""Reference users: a sample of a bundle's users, for whom new ads are scored to find their places in the tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import BundleContent
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import dense_inputs, pool, user_bags
from index_store.search.scoring import UserQuery

USERS = 16
"""Size of the sample. A new ad costs as many scored pairs, and the first one as many times the leaves' members."""


def reference_queries(content: BundleContent, user_tower: Callable[[NDArray[np.float32]], NDArray[np.float32]]
                      ) -> list[UserQuery]:
    """Queries of at most USERS users with a history, the same ones each time; of an unknown user where there are none.

    Args:
        content: of the bundle.
        user_tower: (N, D_in) float32 -> user embeddings (N, Du) float32.
    """
    users, spec = content.users, content.encoder.spec
    active = np.flatnonzero(users.history.lengths)
    rows = np.sort(np.random.default_rng(0).permutation(active)[:USERS])
    people = [(users.features.take(np.array([row])), users.history.row(row)) for row in rows.tolist()]
    queries = []
    for features, history in people or [(content.encoder.encode_user({}), np.empty(0, np.int32))]:
        bags = user_bags(spec, features, Ragged.one_row(history), content.item_keys)
        dense = dense_inputs(spec, "user", features.dense)
        queries.append(content.query(user_tower(pool(content.tables, dense, bags)), features, history))
    return queries
