"""The tiny world as a shop: fields and values that people have, targeting by age, country, interests and device.

    python -m tests.service.console.shop FOLDER      writes a folder of two such bundles, the first of them current
"""

import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np

from index_store.bundle import layout, pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleWriter
from index_store.bundle.manifest import Manifest
from index_store.bundle.pointer import Pointer
from index_store.bundle.targeting_files import write_targeting
from index_store.declaration.spec import FieldSpec
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import AdTargeting
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle

CURRENT, OTHER = "shop-may", "shop-june"
"""Names of the two bundles."""

WORDS = {
    "item.category": "bags bikes boats books cameras coats games lamps phones shoes tents tools",
    "item.brand": "Acorn Birch Cedar Dune Ember Fjord Grove Harbor Indigo Juniper Kestrel Lumen Meadow Nordic Onyx "
                  "Pine Quartz River Summit Tundra",
    "item.tags": "black blue cotton green grey leather limited linen new red sale vegan warm white wool",
    "user.country": "at be ch de nl",
    "user.interests": "art cars cooking garden music running sailing travel",
}
"""New values of each field, in the order of the old ones."""

PREDICATES = [
    {"all": [{"field": "age", "at_least": 40, "at_most": 60}, {"field": "country", "in": ["de", "nl", "at"]},
             {"not": {"field": "device", "in": ["tv"]}}]},
    {"field": "country", "in": ["de", "ch", "nl", "be"]},
    {"any": [{"field": "interests", "in": ["running", "travel", "music"]}, {"field": "age", "at_most": 34}]},
]


def write_shop(tiny: Path, folder: Path, *, pictures: bool = False) -> Manifest:
    """Makes a shop of a tiny bundle; without its golden requests, whose answers targeting changes.

    Args:
        tiny: the bundle.
        folder: the shop, which must not exist yet.
        pictures: whether the field that is the brand in the tiny world has the picture of the ad, and not its name.
    """
    content = Bundle.open(tiny).content
    new = "image_url" if pictures else "name"
    spec = dataclasses.replace(
        content.encoder.spec, context_fields=(FieldSpec("device", "categorical"), FieldSpec("hour", "dense")),
        item_fields=tuple(FieldSpec(new, "categorical", "campaign") if field.name == "brand" else field
                          for field in content.encoder.spec.item_fields))
    vocabularies = {name: np.array(words.encode().split()) for name, words in WORDS.items()}
    brands = vocabularies.pop("item.brand")
    vocabularies[f"item.{new}"] = (np.array([b"/console/icon.svg?%02d" % at for at in range(len(brands))]) if pictures
                                   else brands)
    scales = {"user.age": (40.0, 12.0), "item.price": (80.0, 25.0)}
    encoder = dataclasses.replace(content.encoder, spec=spec, vocabularies=vocabularies, scales=scales)
    parsed = [parse_predicate(predicate, spec.audience_kinds) for predicate in PREDICATES]
    number = np.arange(content.tree.n_items, dtype=np.int32) // 12 % 8
    of_row = np.where(number <= len(parsed), number, 0).astype(np.int32)  # five of eight ads are for everybody

    def change(writer: BundleWriter) -> None:
        writer.json(layout.FEATURES, {"spec": spec.to_json(), "scales": scales})
        writer.json(layout.GOLDEN, [])
        for name, values in vocabularies.items():
            writer.array(layout.vocabulary(name), values)
        for side in ("history", "item"):
            writer.array(layout.table(f"{side}.{new}"), content.tables[f"{side}.brand"])
        write_targeting(writer, AdTargeting.of(encoder, parsed, of_row[content.tree.rows]))

    return reseal(tiny, folder, change)


def write_shops(folder: Path, *, n_items: int = 300, n_users: int = 40) -> None:
    """Writes a folder of two shops; the one that is not current has pictures."""
    with tempfile.TemporaryDirectory() as plain:
        for seed, name in enumerate((CURRENT, OTHER)):
            write_tiny_bundle(Path(plain) / name, seed=seed, n_items=n_items, n_users=n_users)
            write_shop(Path(plain) / name, folder / name, pictures=name == OTHER)
    pointer.replace(folder, Pointer(CURRENT), None)


if __name__ == "__main__":
    write_shops(Path(sys.argv[1]), n_items=3_000, n_users=100)
