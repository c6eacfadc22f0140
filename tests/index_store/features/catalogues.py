"""Random catalogues with key families, and what a user's keys must be, by plain loops."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.encoder import Features
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex, idf
from index_store.features.ragged import Ragged
from index_store.features.similar_users import SimilarUsers
from index_store.features.spectral import SpectralTowers
from index_store.features.spectral_vectors import SpectralVectors
from index_store.features.user_keys import user_keys
from index_store.tree.tree import Tree, build_tree


@dataclass(frozen=True)
class Catalogue:
    """Key families over random items, by plain lists beside the index; users with histories and a field."""

    index: KeyIndex
    spec: FeatureSpec
    fields: dict[str, Ragged]
    reaches: list[FamilyReach]
    known: list[list[int]]
    tree: Tree
    users: Features
    histories: Ragged

    @property
    def item_keys(self):
        return ItemKeys.of(self.spec.key_families, self.index.starts, self.fields)

    def hits(self):
        return user_keys(self.index, self.spec, self.users, self.histories, self.fields)


@st.composite
def catalogues(draw):
    """One key an item, several, by co-click, from a field of the user, and by similar users."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, users = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    single = Ragged.of([[key] for key in random.integers(0, 5, items)])  # 0 is the unknown key
    several = Ragged.of([np.unique(random.integers(1, 7, random.integers(0, 4))) for _ in range(items)])
    own = Ragged.of([[row + 1] for row in range(items)])
    n_keys = items + 1
    lists = [random.permutation(np.arange(1, n_keys))[:random.integers(0, 4)] for _ in range(n_keys)]
    neighbours = Ragged.of([np.sort(part) if key else [] for key, part in enumerate(lists)])
    weights = random.uniform(0.1, 2, len(neighbours.values)).astype(np.float32)
    reaches = [FamilyReach.matching(np.arange(5, dtype=np.int32), idf(single, 5)),
               FamilyReach.matching(np.arange(7, dtype=np.int32), idf(several, 7)),
               FamilyReach(n_keys, neighbours, weights),
               FamilyReach.matching(random.integers(0, 5, 9).astype(np.int32), idf(single, 5)),
               FamilyReach.nothing(n_keys)]
    known = [np.unique(random.integers(1, n_keys, random.integers(0, 6))).tolist() for _ in range(8)]
    families = (KeyFamily("single", "a", "match"), KeyFamily("several", "b", "match"),
                KeyFamily("own", "ad_id", "co_click", 3), KeyFamily("liked", "a", "match", user_field="likes"),
                KeyFamily("alike", "ad_id", "similar_users", 8))
    spec = FeatureSpec((FieldSpec("likes", "multi"),), (FieldSpec("a", "categorical"), FieldSpec("b", "multi")),
                       (TaskSpec("click"),), "impressions", families, history_ordered=draw(st.booleans()))
    nothing = np.empty((users, 0))
    likes = Ragged.of([np.unique(random.integers(0, 9, random.integers(0, 4))) for _ in range(users)])
    tree = build_tree(random.integers(0, 3, (items, 2)), random.normal(size=(items, 2)).astype(np.float32))
    vectors = SpectralVectors.of(random.normal(size=(items, 3)).astype(np.float32), np.zeros(items, np.float32))
    towers = SpectralTowers(vectors, np.ones(items, np.float32), np.ones(3, np.float32))
    similar = SimilarUsers.of(Ragged.of(known), n_keys)
    return Catalogue(KeyIndex.of(families, reaches, towers, similar), spec,
                     {"a": single, "b": several, "ad_id": own}, reaches, known, tree,
                     Features(nothing.astype(np.float32), nothing.astype(np.int32), (likes,)),
                     Ragged.of([random.integers(0, items, random.integers(0, 6)) for _ in range(users)]))


def keys_by_hand(catalogue, f, user):
    """key of family f -> values, for one user."""
    family, reach = catalogue.spec.key_families[f], catalogue.reaches[f]
    found = {}
    if family.via == "similar_users":
        history = {row + 1 for row in catalogue.histories.row(user).tolist()}
        for similarity, other in similar_by_hand(catalogue.known, history, family.neighbours):
            for key in catalogue.known[other]:
                found.setdefault(key, []).append((similarity, 0.0))
        sources = []
    elif family.user_field:
        sources = [(source, 0.0) for source in catalogue.users.multi[0].row(user).tolist()]
    else:
        sources = [(source, 1 / (1 + rank)) for rank, row in enumerate(catalogue.histories.row(user).tolist())
                   for source in catalogue.fields[family.item_field].row(row).tolist()]
    for source, recency in sources:
        for at in range(reach.keys.indptr[source], reach.keys.indptr[source + 1]):
            found.setdefault(int(reach.keys.values[at]), []).append((float(reach.weights[at]), recency))
    sums, squares = ({key: sum(w**power for w, _ in hits) for key, hits in found.items()} for power in (1, 2))
    return {key: [math.log(1 + len(hits)), math.log(1 + sums[key]), max(w for w, _ in hits),
                  *([max(r for _, r in hits)] if catalogue.spec.history_ordered else []),
                  *(math.log(1 + 10 * of[key] / (max(of.values()) or 1.0)) for of in (sums, squares))]
            for key, hits in found.items()}


def similar_by_hand(known, history, most):
    """(similarity, user) of the users who are most like a history (a set of keys), by plain loops."""
    clicks = {key: sum(key in items for items in known) for items in known for key in items}

    def length(items):
        return math.sqrt(sum(1 / max(clicks.get(key, 0), 1) for key in items))

    found = []
    for user, items in enumerate(known):
        both = history & set(items)
        if both and len(both) < len(items):
            found.append((sum(1 / clicks[key] for key in both) / (length(history) * length(items)), user))
    return sorted(found, key=lambda pair: (-round(pair[0], 6), pair[1]))[:most]
