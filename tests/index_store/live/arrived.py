"""The planted world of the tiny bundle with arrivals, without ONNX: towers and scorer are plain matrices."""

import numpy as np

from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import pool, user_bags
from index_store.live.arrivals import Arrivals
from index_store.live.placement import Placement
from index_store.live.snapshot import Snapshot
from index_store.targeting.targeting import Targeting
from tests.tiny_bundle import planted_world


class PlantedWorld:
    """Content, scorer and the sealed snapshot; `queries` are those of all users."""

    def __init__(self):
        self.content, towers, weights = planted_world()
        content, encoder = self.content, self.content.encoder

        def scores(user, items, interaction):
            return (items @ user.T) @ weights["dot"] + interaction @ weights["interaction"] + weights["bias"]

        self.scorer = content.scorer([scores])
        self.queries = []
        for row in range(len(content.users.ids)):
            features, history = content.users.features.take(np.array([row])), content.users.history.row(row)
            bags = user_bags(encoder.spec, features, Ragged.one_row(history), content.item_keys)
            embedding = pool(content.tables, features.dense, bags) @ towers["user"]
            self.queries.append(content.query(embedding, features, history))
        self.arrivals = Arrivals(content, lambda inputs: inputs @ towers["item"],
                                 lambda: Placement(self.scorer, self.content.index, self.queries))
        self.sealed = Snapshot.sealed(encoder, content.tree,
                                      Targeting(encoder, content.items, content.tree, content.targeting), self.arrivals)

    def raw(self, row):
        """Features of an ad of the bundle, as a caller would send them."""
        items, vocabularies = self.content.items, self.content.encoder.vocabularies
        category, brand = items.categorical[row].tolist()
        words = {name: [None, *(value.decode() for value in vocabularies[f"item.{name}"].tolist())]
                 for name in ("category", "brand", "tags")}
        return {"price": float(items.dense[row, 0]), "category": words["category"][category],
                "brand": words["brand"][brand], "tags": [words["tags"][at] for at in items.multi[0].row(row)]}
