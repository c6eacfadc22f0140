"""Random predicates and a catalogue of ads for them, with the plain evaluator that all shortcuts are compared with."""

import math

import numpy as np
from hypothesis import strategies as st

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree

SPEC = FeatureSpec(
    user_fields=(FieldSpec("age", "dense"), FieldSpec("country", "categorical"), FieldSpec("interests", "multi")),
    item_fields=(FieldSpec("price", "dense"), FieldSpec("brand", "categorical"), FieldSpec("tags", "multi")),
    tasks=(TaskSpec("click"),), negatives="impressions", key_families=(KeyFamily("same_ad", "ad_id", "match"),),
    context_fields=(FieldSpec("hour", "dense"), FieldSpec("device", "categorical"), FieldSpec("slots", "multi"),
                    FieldSpec("place", "location")))
WORDS = ["a", "b", "c", 1, "2"]
UNSEEN = "nobody has this"
NUMBERS = [-3.5, 0.0, 0.1, 2.0, 7.25, 100.0]
PLACES = [{"lat": lat, "lon": lon} for lat, lon in [
    (52.37, 4.9), (52.09, 5.12), (-41.3, 174.8), (90, 0), (89.9, -77), (-90, 33), (0, 180), (0.2, -180), (-0.1, 179.9)]]
RADII = [3, 60, 1_400, 19_000]


def predicates(kinds, ids=()):
    """Any predicate over fields of these kinds; `ad_id` takes its values from `ids`."""
    def clause(name):
        if kinds[name] == "dense":
            bounds = st.fixed_dictionaries({}, optional={"at_least": st.sampled_from(NUMBERS),
                                                         "at_most": st.sampled_from(NUMBERS)}).filter(bool)
            return bounds.map(lambda given: {"field": name, **given})
        if kinds[name] == "location":
            circle = st.tuples(st.sampled_from(PLACES), st.sampled_from(RADII)).map(
                lambda one: {**one[0], "km": one[1]})
            return st.tuples(st.sampled_from(["near", "away_from"]), st.lists(circle, min_size=1, max_size=3)).map(
                lambda given: {"field": name, given[0]: given[1]})
        words = st.sampled_from([*ids, UNSEEN] if name == "ad_id" else [*WORDS, UNSEEN])
        return st.lists(words, max_size=3).map(lambda values: {"field": name, "in": values})

    clauses = st.sampled_from(sorted(kinds)).flatmap(clause)
    return st.recursive(clauses, lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, max_size=3).map(lambda parts: {"any": parts}), inner.map(lambda part: {"not": part})),
        max_leaves=8)


def plainly(predicate, values):
    """Whether a predicate holds for raw values by field; None and an empty list are missing."""
    if "all" in predicate:
        return all(plainly(part, values) for part in predicate["all"])
    if "any" in predicate:
        return any(plainly(part, values) for part in predicate["any"])
    if "not" in predicate:
        return not plainly(predicate["not"], values)
    value = values.get(predicate["field"])
    if value is None:
        return False
    if "near" in predicate:
        return any(kilometres(value, circle) <= circle["km"] for circle in predicate["near"])
    if "away_from" in predicate:
        return all(kilometres(value, circle) > circle["km"] for circle in predicate["away_from"])
    if "in" in predicate:
        held = value if isinstance(value, list) else [value]
        return bool({str(v) for v in held} & {str(v) for v in predicate["in"]})
    return predicate.get("at_least", -np.inf) <= value <= predicate.get("at_most", np.inf)


def kilometres(one, other):
    """Great-circle distance of two points in degrees, by the haversine formula."""
    phi, theta, phi_2, theta_2 = map(math.radians, (one["lat"], one["lon"], other["lat"], other["lon"]))
    haversine = (math.sin((phi - phi_2) / 2) ** 2
                 + math.cos(phi) * math.cos(phi_2) * math.sin((theta - theta_2) / 2) ** 2)
    return 2 * 6371.0088 * math.asin(math.sqrt(min(1.0, haversine)))


def raw_values(fields):
    """Raw values of the fields of one user, context or ad; any but a dense one of an ad may be missing."""
    def value(kind):
        if kind == "dense":
            return st.sampled_from(NUMBERS)
        if kind == "location":
            return st.sampled_from(PLACES)
        one = st.sampled_from(WORDS)
        return one if kind == "categorical" else st.lists(one, max_size=3)

    return st.fixed_dictionaries({f.name: value(f.kind) | st.none() for f in fields})


def encoder(n_items):
    """Vocabularies of all words, scales that are no power of two, items `ad-00` and so on."""
    words = np.unique([str(word).encode() for word in WORDS])
    names = ("user.country", "user.interests", "item.brand", "item.tags")
    return FeatureEncoder(SPEC, dict.fromkeys(names, words), {"user.age": (31.7, 12.3), "item.price": (3.1, 0.7)},
                          np.array([f"ad-{row:02d}".encode() for row in range(n_items)]))


def catalogue(seed, n):
    """An encoder, n ads as raw values and as features, and a tree of random order over them."""
    random = np.random.default_rng(seed)
    ads = [{"ad_id": f"ad-{row:02d}", "price": float(random.choice(NUMBERS)),
            "brand": random.choice([None, *WORDS]), "tags": random.choice(WORDS, random.integers(0, 3)).tolist()}
           for row in range(n)]
    encoded = encoder(n)
    words = encoded.vocabularies["item.brand"].tolist()
    prices = (np.array([ad["price"] for ad in ads], np.float32).astype(np.float64) - 3.1) / 0.7
    brands = [0 if ad["brand"] is None else 1 + words.index(str(ad["brand"]).encode()) for ad in ads]
    tags = Ragged.of([[1 + words.index(str(tag).encode()) for tag in ad["tags"]] for ad in ads])
    features = Features(prices.astype(np.float32)[:, None], np.array(brands, np.int32)[:, None], (tags,))
    return encoded, ads, features, Tree(random.permutation(n).astype(np.int32), (), ())
