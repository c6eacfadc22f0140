"""A whole bundle without torch: 300 ads and 40 users of a planted world, linear ONNX graphs, answers by plain numpy.

The truth that tests may rely on: ads of the categories in a user's history outrank all others under the task `click`,
because the scorer gives `category.matches` by far the largest weight; `convert` prefers other ads.

    python -m tests.tiny_bundle FOLDER      writes one of a stack that reads context, as was done for tests/bundles/v8
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from index_store.bundle import graphs, layout
from index_store.bundle.bundle import BundleContent, UserTable, write_content
from index_store.bundle.files import BundleWriter
from index_store.bundle.manifest import LevelEntry, Manifest, SearchDefaults
from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.declaration.values import as_keys
from index_store.features.context import ContextTables, fixed_ids
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.interaction import feature_names
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex, idf, key_postings
from index_store.features.ragged import Ragged
from index_store.features.similar_users import SimilarUsers
from index_store.features.spectral import SPECTRAL_FEATURES, SpectralTowers
from index_store.features.spectral_vectors import HEAD, SpectralVectors
from index_store.features.tower_inputs import all_item_keys, item_bags, pool, table_sizes, user_bags
from index_store.features.vocabulary import look_up
from index_store.search.scoring import DenseLayers
from index_store.tree.node_content import level_vectors
from index_store.tree.tree import Tree, build_tree, segment_means
from index_store.value.bids import AdBids
from index_store.value.calibration import Calibration, Calibrations

CATEGORIES, WIDTH, DIM = 12, 4, 8

STRONG, DIRECTIONS = 24, HEAD + 2
"""Of the spectral vectors: those that say something, and all: what 8 bits hold, and a byte more."""

SPEC = FeatureSpec(
    user_fields=(FieldSpec("age", "dense"), FieldSpec("country", "categorical"), FieldSpec("interests", "multi")),
    item_fields=(FieldSpec("price", "dense"), FieldSpec("category", "categorical"),
                 FieldSpec("brand", "categorical", "advertiser"), FieldSpec("tags", "multi")),
    tasks=(TaskSpec("click", bid_type="CPC"), TaskSpec("convert", 0.5, bid_type="CPA")),
    negatives="impressions",
    key_families=(KeyFamily("category", "category", "match"), KeyFamily("tags", "tags", "match"),
                  KeyFamily("co_click", "ad_id", "co_click", neighbours=5),
                  KeyFamily("alike", "ad_id", "similar_users", neighbours=3)),
    history_length=20)


CONTEXT_FIELDS = (FieldSpec("hour", "categorical", model=True),
                  FieldSpec("position", "categorical", model=True, serve_as="1"), FieldSpec("inventory", "categorical"))
HOURS, POSITIONS = (b"day", b"night"), (b"1", b"2", b"3")


def write_tiny_bundle(folder: Path, *, seed: int = 0, n_items: int = 300, n_users: int = 40,
                      calibrated: bool = True, stacked: bool = False, campaigns: bool = False,
                      context: bool = False) -> Manifest:
    """Writes a sealed bundle with a tree of three levels, the items' included, and golden requests.

    Args:
        folder: the bundle, which must not exist yet.
        seed, n_items, n_users: of `planted_world`.
        calibrated: whether the service should answer with probabilities, and calibrates them.
        stacked: whether level 1 has a scorer of its own, whose logits are part of the items'.
        campaigns: whether the field `category` names the campaigns of the ads.
        context: whether the model reads CONTEXT_FIELDS, see `in_context`.
    """
    content, towers, scorer = planted_world(seed, n_items, n_users)
    scorers = [scorer]
    if stacked:
        content = replace(content, ensemble=(1,))
        scorers = [_scorer_weights(np.random.default_rng([seed, 1])), scorer]
    if campaigns:
        spec = content.encoder.spec
        fields = tuple(replace(field, role="campaign") if field.name == "category" else field
                       for field in spec.item_fields)
        content = replace(content, encoder=replace(content.encoder, spec=replace(spec, item_fields=fields)))
    if not calibrated:
        content = replace(content, calibrations=None)
    if context:
        content = in_context(content)
    writer = BundleWriter(folder)
    write_content(writer, content)
    _write_tower(writer, layout.USER_TOWER, "user", towers["user"])
    _write_tower(writer, layout.ITEM_TOWER, "item", towers["item"])
    for layer, weights in enumerate(scorers, start=1):
        _write_scorer(writer, layout.scorer(layer), weights)
    writer.json(layout.EVALUATION, {"note": "planted world, not evaluated"})
    writer.json(layout.GOLDEN, _golden(content, towers["user"], scorers))
    return writer.seal(
        dims={"user_embedding": DIM, "interaction": len(feature_names(SPEC))},
        tasks=tuple(task.name for task in SPEC.tasks), calibrated=calibrated,
        levels=tuple(LevelEntry(level, content.tree.size(level), layout.scorer(2 if stacked and level > 1 else 1), DIM,
                                level in (*content.ensemble, content.tree.depth))
                     for level in range(1, content.tree.depth + 1)),
        counts={"items": n_items, "users": n_users}, search=SearchDefaults((3, 6), 10))


def in_context(content: BundleContent) -> BundleContent:
    """The content with context: at night other ads come first for whoever has no history; positions only shift."""
    encoder = replace(content.encoder, spec=replace(SPEC, context_fields=CONTEXT_FIELDS), vocabularies={
        **content.encoder.vocabularies, "context.hour": np.array(HOURS), "context.position": np.array(POSITIONS)})
    hours = np.random.default_rng(7).normal(size=(3, DIM)).astype(np.float32) * np.array([[0], [1], [20]], np.float32)
    return replace(content, encoder=encoder, context=ContextTables(
        (hours, None), (np.array([[0, 0], [0.1, 0.2], [0.3, -0.1]], np.float32),
                        np.array([[0, 0], [0.5, 0.25], [-0.5, 0], [-1, -0.25]], np.float32)), fixed_ids(encoder)))


CALIBRATIONS = Calibrations((Calibration.line(0.25, -1.0), Calibration.line(0.5, 0.0)))


def planted_bids(n_items: int) -> AdBids:
    """Bids by position of all ads but the first of every five, of each type in turn, up to a whole unit."""
    random, at = np.random.default_rng(n_items), np.arange(n_items)
    return AdBids(np.where(at % 5, random.integers(1, 10**6, n_items), 0), (at % 3).astype(np.uint8))


def planted_records(n_items: int) -> np.ndarray:
    """Impressions and clicks by position: every seventh ad has had ten and one, all others a thousand and ten."""
    return np.where(np.arange(n_items)[:, None] % 7, [1000, 10], [10, 1]).astype(np.uint16)


Weights = dict[str, np.ndarray]


def planted_world(seed: int = 0, n_items: int = 300, n_users: int = 40) -> tuple[BundleContent, Weights, Weights]:
    """The content of the bundle, the weights of both towers and those of the scorer.

    Args:
        seed: of everything random.
        n_items: ads, named `ad-0000` and so on; ad i has category `c<i modulo 12>`.
        n_users: known users, named `user-00` and so on.
    """
    random = np.random.default_rng(seed)
    encoder = _encoder(n_items)
    items, tower_weights = _items(n_items, random), _tower_weights(encoder, random)
    tables = {name: random.normal(size=(rows, WIDTH)).astype(np.float32)
              for side in table_sizes(encoder) for name, rows in side.items()}
    keys = all_item_keys(SPEC, items)
    item_embeddings = pool(tables, items.dense, item_bags(SPEC, np.arange(n_items), keys)) @ tower_weights["item"]
    category = items.categorical[:, 0]
    halves = category * 2 + np.arange(n_items) // CATEGORIES % 2  # two nodes a category, three categories a node above
    tree = build_tree(np.stack([(category - 1) // 3, halves], axis=1), item_embeddings)
    spectral = _spectral(n_items, random)
    reaches = [_reach(family, keys[family.item_field], encoder, random) for family in SPEC.key_families]
    users = _users(n_users, n_items, random)
    similar = SimilarUsers.of(users.history.with_values(users.history.values + 1), n_items + 1)
    index = KeyIndex.of(SPEC.key_families, reaches, spectral.ordered(tree.rows, tree.position_of_row), similar)
    keys_of_row = ItemKeys.of(SPEC.key_families, index.starts, keys)
    postings = tuple(key_postings(keys_of_row, index, tree.node_of_position(level)[tree.position_of_row])
                     for level in range(1, tree.depth))
    content = BundleContent(encoder, users, items, tables, tree,
                            _level_embeddings(tree, item_embeddings), index, keys_of_row.take(tree.rows), postings,
                            tuple(level_vectors(tree, spectral.items, level) for level in range(1, tree.depth)),
                            bids=planted_bids(n_items), calibrations=CALIBRATIONS, records=planted_records(n_items))
    return content, tower_weights, _scorer_weights(random)


def _encoder(n_items: int) -> FeatureEncoder:
    def words(prefix: str, count: int) -> np.ndarray:
        return np.unique(np.array([f"{prefix}{i}".encode() for i in range(count)]))

    vocabularies = {"user.country": words("country-", 5), "user.interests": words("interest-", 8),
                    "item.category": words("c", CATEGORIES), "item.brand": words("brand-", 20),
                    "item.tags": words("tag-", 15)}
    item_ids = np.array([f"ad-{i:04d}".encode() for i in range(n_items)])
    return FeatureEncoder(SPEC, vocabularies, {"user.age": (40.0, 12.0), "item.price": (0.0, 1.0)}, item_ids)


def _items(n: int, random: np.random.Generator) -> Features:
    names = np.array([f"c{i % CATEGORIES}".encode() for i in range(n)])
    category = np.searchsorted(np.unique(names), names) + 1
    categorical = np.stack([category, random.integers(0, 21, n)], axis=1).astype(np.int32)
    tags = Ragged.of([np.unique(random.integers(1, 16, random.integers(0, 4))) for _ in range(n)])
    return Features(random.normal(size=(n, 1)).astype(np.float32), categorical, (tags,))


def _users(n: int, n_items: int, random: np.random.Generator) -> UserTable:
    features = Features(random.normal(size=(n, 1)).astype(np.float32), random.integers(0, 6, (n, 1)).astype(np.int32),
                        (Ragged.of([random.integers(1, 9, random.integers(0, 4)) for _ in range(n)]),))
    history = Ragged.of([random.permutation(n_items)[:random.integers(0, 9)] for _ in range(n)])
    return UserTable(np.array([f"user-{i:02d}".encode() for i in range(n)]), features, history)


def _tower_weights(encoder: FeatureEncoder, random: np.random.Generator) -> Weights:
    widths = {side: len(SPEC.fields(side, "dense")) + WIDTH * len(tables)
              for side, tables in zip(("user", "item"), table_sizes(encoder), strict=True)}
    return {side: (random.normal(size=(width, DIM)) / np.sqrt(width)).astype(np.float32)
            for side, width in widths.items()}


def _spectral(n_items: int, random: np.random.Generator) -> SpectralTowers:
    strong = random.normal(size=(n_items, STRONG))
    weak = np.random.default_rng(1).normal(size=(n_items, DIRECTIONS - STRONG)) / 20
    vectors = SpectralVectors.of(np.concatenate([strong, weak], axis=1).astype(np.float32),
                                 np.log1p(random.integers(0, 40, n_items)).astype(np.float32))
    return SpectralTowers(vectors, np.ones(n_items, np.float32), np.linspace(1, 0.2, DIRECTIONS).astype(np.float32))


def _scorer_weights(random: np.random.Generator) -> Weights:
    names = feature_names(SPEC)
    interaction = random.uniform(0.1, 0.5, (len(names), len(SPEC.tasks))).astype(np.float32)
    interaction[-len(SPECTRAL_FEATURES):] *= 0.1
    interaction[names.index("category.matches"), 0] = 40.0
    return {"dot": np.array([[0.3, 1.0]], np.float32), "interaction": interaction,
            "bias": np.array([-2.0, -4.0], np.float32)}


def _reach(family: KeyFamily, keys: Ragged, encoder: FeatureEncoder, random: np.random.Generator) -> FamilyReach:
    n_keys = encoder.keys_of_family(family)
    if family.via == "match":
        return FamilyReach.matching(encoder.matched_keys(family), idf(keys, n_keys))
    if family.via == "similar_users":
        return FamilyReach.nothing(n_keys)
    lists = [np.sort(random.permutation(np.arange(1, n_keys))[:random.integers(0, family.neighbours + 1)])
             for _ in range(n_keys)]
    lists[0] = np.empty(0, np.int64)
    neighbours = Ragged.of(lists)
    return FamilyReach(n_keys, neighbours, random.uniform(0.05, 1.0, len(neighbours.values)).astype(np.float32))


def _level_embeddings(tree: Tree, by_row: np.ndarray) -> tuple[np.ndarray, ...]:
    ordered = by_row[tree.rows]
    return (*(segment_means(ordered, offsets) for offsets in tree.offsets), ordered)


def _write_tower(writer: BundleWriter, name: str, side: str, weights: np.ndarray) -> None:
    given, embedding = {"user": (graphs.USER_INPUT, graphs.USER_EMBEDDING),
                        "item": (graphs.ITEM_INPUT, graphs.ITEM_EMBEDDING)}[side]
    _write_graph(writer, name, [helper.make_node("MatMul", [given, "weights"], [embedding])],
                 {given: ["N", len(weights)]}, {embedding: ["N", DIM]}, {"weights": weights})


def _write_scorer(writer: BundleWriter, name: str, weights: Weights) -> None:
    """logits = dot(user, item) x dot weight + interaction @ weights + bias, a column a task."""
    nodes = [helper.make_node("Transpose", [graphs.USER_EMBEDDING], ["user_column"], perm=[1, 0]),
             helper.make_node("MatMul", [graphs.ITEM_EMBEDDINGS, "user_column"], ["product"]),
             helper.make_node("MatMul", ["product", "dot"], ["dot_part"]),
             helper.make_node("MatMul", [graphs.INTERACTION, "interaction_weights"], ["interaction_part"]),
             helper.make_node("Add", ["dot_part", "interaction_part"], ["sum"]),
             helper.make_node("Add", ["sum", "bias"], [graphs.LOGITS])]
    features, tasks = weights["interaction"].shape
    _write_graph(writer, name, nodes,
                 {graphs.USER_EMBEDDING: [1, DIM], graphs.ITEM_EMBEDDINGS: ["C", DIM],
                  graphs.INTERACTION: ["C", features]}, {graphs.LOGITS: ["C", tasks]},
                 {"dot": weights["dot"], "interaction_weights": weights["interaction"], "bias": weights["bias"]})


def _write_graph(writer: BundleWriter, name: str, nodes: list[onnx.NodeProto], inputs: dict[str, list[int | str]],
                 outputs: dict[str, list[int | str]], constants: Weights) -> None:
    graph = helper.make_graph(
        nodes, name.removesuffix(".onnx"),
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs.items()],
        [numpy_helper.from_array(values, n) for n, values in constants.items()])
    # Old versions of the format, so that the bundle of tests/bundles/v1 opens under every later runtime.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    writer.path(name).write_bytes(model.SerializeToString())


def _golden(content: BundleContent, user_tower: np.ndarray, scorers: list[Weights]) -> list[dict[str, object]]:
    """Exhaustive answers for known users, an inline one and an unknown one."""
    requests = [{"user_id": f"user-{i:02d}", "top_k": 20, "exact": True} for i in range(4)]
    requests.append({"user_id": "user-01", "top_k": 5, "exact": True, "task_weights": {"convert": 1.0, "click": 0.25},
                     "exclude_ad_ids": ["ad-0001", "no-such-ad"]})
    requests.append({"user_id": "guest", "top_k": 20, "exact": True,
                     "user_features": {"age": 31, "country": "country-2", "interests": ["interest-1", "interest-7"],
                                       "history": ["ad-0005", "ad-0102", "no-such-ad"]}})
    requests.append({"user_id": "nobody", "top_k": 20, "exact": True})
    if content.context is not None:
        requests += [{**requests[at], "context": {"hour": hour}} for at in (0, 5, 6) for hour in ("day", "night")]
    return [{"request": request, "ads": _answer(request, content, user_tower, scorers)} for request in requests]


def dense_layers(scorer: Weights) -> DenseLayers:
    """The scorer of these weights in plain numpy."""
    return lambda u, v, x: (v @ u.T) @ scorer["dot"] + x @ scorer["interaction"] + scorer["bias"]


def _answer(request: dict[str, object], content: BundleContent, user_tower: np.ndarray,
            scorers: list[Weights]) -> list[dict[str, object]]:
    encoder, row = content.encoder, content.users.row(request["user_id"].encode())
    if row >= 0:
        features, history = content.users.features.take(np.array([row])), content.users.history.row(row)
    else:
        given = dict(request.get("user_features", {}))
        rows = look_up(encoder.item_ids, as_keys(given.pop("history", []), "history"))
        history = rows[rows >= 0]
        features = encoder.encode_user(given)
    bags = user_bags(SPEC, features, Ragged.of([history]), content.item_keys)
    user = pool(content.tables, features.dense, bags) @ user_tower
    query = content.query(user, features, history, encoder.encode_context(request.get("context", {})))
    scorer = content.scorer([dense_layers(weights) for weights in scorers])
    logits = scorer.score(query, content.tree.depth, np.arange(content.tree.n_items))
    weights = request.get("task_weights", {"click": 1.0})
    scores = logits @ np.array([weights.get(task.name, 0.0) for task in SPEC.tasks], np.float32)
    names = [encoder.item_ids[r].decode() for r in content.tree.rows]
    order = sorted(range(len(names)), key=lambda at: (-scores[at], names[at]))
    kept = [at for at in order if names[at] not in request.get("exclude_ad_ids", [])][:request["top_k"]]
    return [{"ad_id": names[at], "score": float(scores[at]), "logits": logits[at].tolist()} for at in kept]


if __name__ == "__main__":
    print(f"bundle {write_tiny_bundle(Path(sys.argv[1]), stacked=True, context=True).bundle_id}")
