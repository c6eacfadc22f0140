"""The tiny bundle with predicates on its ads, and a plain evaluator that tells who may see which of them.

Of the 300 ads, ad i has predicate i modulo 4: none, or the one of `PREDICATES` before it in number.
"""

import dataclasses
from pathlib import Path

import numpy as np

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleWriter
from index_store.bundle.manifest import Manifest
from index_store.bundle.targeting_files import write_targeting
from index_store.declaration.spec import FieldSpec
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import AdTargeting
from tests.resealed import reseal

CONTEXT = (FieldSpec("device", "categorical"), FieldSpec("hour", "dense"), FieldSpec("slots", "multi"),
           FieldSpec("place", "location"))

PREDICATES = [
    {"field": "country", "in": ["country-1", "atlantis", 7]},
    {"all": [{"field": "age", "at_least": 40}, {"not": {"field": "device", "in": ["tv"]}}]},
    {"any": [{"field": "interests", "in": ["interest-2", "interest-3"]}, {"field": "hour", "at_most": 6.5},
             {"field": "slots", "in": ["top"]}, {"field": "place", "near": [{"lat": 52.37, "lon": 4.9, "km": 10},
                                                                            {"lat": 0, "lon": 180, "km": 30}]}]},
]


def write_targeted_bundle(tiny: Path, folder: Path) -> Manifest:
    """Adds the predicates to the tiny bundle; without its golden requests, whose answers they change."""
    content = Bundle.open(tiny).content
    spec = dataclasses.replace(content.encoder.spec, context_fields=CONTEXT)
    encoder = dataclasses.replace(content.encoder, spec=spec)
    parsed = [parse_predicate(predicate, spec.audience_kinds) for predicate in PREDICATES]
    of_row = np.arange(content.tree.n_items, dtype=np.int32) % 4

    def change(writer: BundleWriter) -> None:
        writer.json(layout.FEATURES, {"spec": spec.to_json(), "scales": dict(encoder.scales)})
        writer.json(layout.GOLDEN, [])
        write_targeting(writer, AdTargeting.of(encoder, parsed, of_row[content.tree.rows]))

    return reseal(tiny, folder, change)


def raw_users(content) -> dict[str, dict[str, object]]:
    """User id -> the stored values, decoded."""
    countries = content.encoder.vocabularies["user.country"].tolist()
    interests = content.encoder.vocabularies["user.interests"].tolist()
    users = content.users
    return {user_id.decode(): {
        "age": float(users.features.dense[row, 0]) * 12 + 40,
        "country": None if not (at := users.features.categorical[row, 0]) else countries[at - 1].decode(),
        "interests": [interests[i - 1].decode() for i in users.features.multi[0].row(row)]}
        for row, user_id in enumerate(users.ids.tolist())}


def raw_ads(content) -> dict[str, dict[str, object]]:
    """Ad id -> the stored values, decoded."""
    names = {name: [None, *(value.decode() for value in content.encoder.vocabularies[f"item.{name}"].tolist())]
             for name in ("category", "brand", "tags")}
    items = content.items
    return {ad_id.decode(): {
        "ad_id": ad_id.decode(), "price": float(items.dense[row, 0]),
        "category": names["category"][items.categorical[row, 0]], "brand": names["brand"][items.categorical[row, 1]],
        "tags": [names["tags"][i] for i in items.multi[0].row(row)]}
        for row, ad_id in enumerate(content.encoder.item_ids.tolist())}
