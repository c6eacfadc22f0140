"""Layout of a bundle: the names of its files."""

from __future__ import annotations

FEATURES = "features.json"
EVALUATION = "evaluation.json"
GOLDEN = "golden.json"
USER_TOWER = "user_tower.onnx"
ITEM_TOWER = "item_tower.onnx"
USER_IDS = "users/ids.npy"
USER_FEATURES = "users/features"
USER_HISTORY = "users/history"
ITEM_IDS = "items/ids.npy"
ITEM_FEATURES = "items/features"
TREE_ROWS = "tree/rows.npy"
REACH = "postings/reach"
REACH_WEIGHTS = "postings/weights.npy"
SPECTRAL_WEIGHTS = "spectral/weights.npy"
SPECTRAL_DISCOUNTS = "spectral/discounts.npy"  # in its place, before version 8
SPECTRAL_STRENGTHS = "spectral/strengths.npy"
ITEM_KEYS = "postings/items"
SIMILAR_ITEMS = "similar/items"
SIMILAR_CLICKERS = "similar/clickers"
SIMILAR_WEIGHTS = "similar/weights.npy"
SIMILAR_LENGTHS = "similar/lengths.npy"
TARGETING = "targeting/counts.json"
TARGETING_GATES = "targeting/gates"
BID_MICROS = "bids/micros.npy"
BID_TYPES = "bids/types.npy"
CALIBRATION = "calibration.json"
RECORDS = "items/records.npy"
SPECULATION = "speculation.json"  # of a bundle that uses the pairs of a foundation model
FOUNDATION = "foundation.json"  # of the bundle of a foundation model, as is the next
PAIR_EMBEDDING = "pair_embedding.onnx"
SHARDS = "shards.json"  # in the root of a sharded bundle
SHARD = "shard.json"  # in each of its shards


def scorer(layer: int) -> str:
    """Graph of a layer of a stacked MoNN, numbered from 1, coarse to fine; an unstacked model has the first only."""
    return f"scorer_{layer}.onnx"


def folded(layer: int, name: str) -> str:
    """One array of the folded scorer of a layer, such as `mix`; only of over-archs that the compiled kernel knows."""
    return f"folded/{layer}.{name}.npy"


def table(name: str) -> str:
    """Embedding table of one tower input, such as `history.ad_id`."""
    return f"tables/{name}.npy"


def vocabulary(name: str) -> str:
    """Sorted values of a categorical or multi field, such as `user.country`."""
    return f"tables/vocabulary.{name}.npy"


def level_array(kind: str, level: int) -> str:
    """One array per level: `offsets`, `representatives` or `embeddings`."""
    return f"tree/{kind}_{level}.npy"


def spectral(kind: str, level: int) -> str:
    """One array of the spectral vectors of a level: `values`, `steps`, `tail`, `tail_steps` or `popularity`."""
    return f"spectral/{kind}_{level}.npy"


def level_postings(level: int) -> str:
    """Postings of one level: the nodes that hold each key."""
    return f"postings/level_{level}"


def shard_folder(number: int) -> str:
    """Folder of a shard in that of its root, numbered from 0."""
    return f"shards/{number}"


def context_array(kind: str, field: str) -> str:
    """Rows of a context field that the model reads: `embeddings` or `shifts`."""
    return f"context/{kind}.{field}.npy"


def speculation(name: str) -> str:
    """One array of autoencoder and adapter: `mean`, `axes`, `steps`, `weights` or `bias`."""
    return f"speculation/{name}.npy"


def targeting_array(kind: str) -> str:
    """One array of the ads' predicates, such as `of_position` or `values.country`."""
    return f"targeting/{kind}.npy"


def targeting_lists(field: str) -> str:
    """Lists of the clauses that name each value of a field."""
    return f"targeting/clauses.{field}"
