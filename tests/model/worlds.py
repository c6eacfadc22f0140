"""Tiny logs and vectors with a planted answer, for the tests of the offline job."""

from dataclasses import replace

import numpy as np

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.ragged import Ragged
from model.data.load import Dataset, Events


def positives(users: int = 60, items: int = 80, clicks: int = 6, seed: int = 0, planted: bool = True) -> Dataset:
    """A log of positives: users click ads of their own category if `planted`, else any ads at all."""
    rng = np.random.default_rng(seed)
    category = np.arange(items) % 8
    rows = np.arange(items)
    taken = [np.sort(rng.permutation(rows[category == u % 8] if planted else rows)[: clicks + 1]) for u in range(users)]
    taken = [rng.permutation(own) for own in taken]
    train = [own[:-1] for own in taken]
    return dataset(users, items, category, [(u, i) for u in range(users) for i in train[u]],
                   [(u, taken[u][-1]) for u in range(users)])


def dataset(users: int, items: int, category: np.ndarray, train: list[tuple[int, int]],
            test: list[tuple[int, int]]) -> Dataset:
    """A log of positives over ads with a category; users have one field, their parity."""
    spec = FeatureSpec(
        user_fields=(FieldSpec("parity", "categorical"),), item_fields=(FieldSpec("category", "categorical"),),
        tasks=(TaskSpec("click"),), negatives="sampled", history_ordered=False,
        key_families=(KeyFamily("category", "category", "match"), KeyFamily("also", "ad_id", "co_click", 10)))
    values = {"user.parity": np.array([b"0", b"1"]),
              "item.category": np.array(sorted(str(c).encode() for c in np.unique(category)))}
    ids = np.array([b"ad%05d" % i for i in range(items)])
    encoder = FeatureEncoder(spec, values, {}, ids)
    of = encoder.encode_values("item", "category", np.array([str(c).encode() for c in category]))
    return Dataset(spec, encoder, np.array([b"user%05d" % u for u in range(users)]),
                   features((np.arange(users) % 2 + 1)[:, None]), features(of[:, None]), events(train), events(test))


def with_similar_users(data: Dataset) -> Dataset:
    """The log with one more family, via similar users."""
    spec = replace(data.spec, key_families=(*data.spec.key_families, KeyFamily("alike", "ad_id", "similar_users", 20)))
    encoder = data.encoder
    return replace(data, spec=spec, encoder=FeatureEncoder(spec, encoder.vocabularies, encoder.scales,
                                                           encoder.item_ids))


def features(categorical: np.ndarray) -> Features:
    """Encoded rows that hold categorical ids alone."""
    return Features(np.zeros((len(categorical), 0), np.float32), categorical.astype(np.int32), ())


def events(pairs: list[tuple[int, int]]) -> Events:
    """Clicks (user row, item row) without times."""
    users, items = (np.array(column, np.int32) for column in zip(*sorted(pairs), strict=True))
    return Events(users, items, np.zeros(len(users), np.int64), np.ones((len(users), 1), np.int8))


def lists(rows: list[list[int]]) -> Ragged:
    """A Ragged of plain lists."""
    return Ragged.of([np.array(row, np.int32) for row in rows])


def planted_groups(groups: int, subgroups: int, members: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors in well separated groups of well separated subgroups, shuffled: (vectors, group, subgroup)."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(groups, 8)) * 100
    inner = centres[:, None] + rng.normal(size=(groups, subgroups, 8)) * 5
    vectors = inner.repeat(members, axis=1).reshape(-1, 8) + rng.normal(size=(groups * subgroups * members, 8)) * 0.01
    group = np.repeat(np.arange(groups), subgroups * members)
    subgroup = np.repeat(np.arange(groups * subgroups), members)
    order = rng.permutation(len(vectors))
    return vectors[order].astype(np.float32), group[order], subgroup[order]


def impressions() -> Dataset:
    """The clicks of `positives`, each followed by an impression of another category; half of the users buy too."""
    data = positives()
    users = np.repeat(data.train.users, 2)
    items = np.stack([data.train.items, (data.train.items + 3) % len(data.items)], axis=1).reshape(-1)
    clicked = np.tile([1, 0], len(data.train))
    labels = np.stack([clicked, clicked * (users % 4 < 2)], axis=1).astype(np.int8)
    log = Events(users, items.astype(np.int32), np.arange(len(users), dtype=np.int64), labels)
    spec = replace(data.spec, negatives="impressions", history_ordered=True,
                   tasks=(*data.spec.tasks, TaskSpec("purchase")))
    encoder = FeatureEncoder(spec, data.encoder.vocabularies, {}, data.encoder.item_ids)
    return replace(data, spec=spec, encoder=encoder, train=log, test=None)


TWINS = 0, 8
"""Two ads of one category; in `in_context` the first is always shown on top, the second always below."""

CONTEXT_FIELDS = (FieldSpec("hour", "categorical", model=True),
                  FieldSpec("position", "categorical", model=True, serve_as="1"))


def in_context(events: int = 4_000) -> Dataset:
    """Impressions by day and by night, on top and below: even categories are clicked by day and odd ones by night.

    Log odds of a click are 1.5 by the right hour and -2.5 by the other, and 2 less below. Half of the ads are mostly
    shown on top, the others mostly below.
    """
    data, rng = positives(), np.random.default_rng(3)
    users, items = np.sort(rng.integers(0, 60, events)).astype(np.int32), rng.integers(0, 80, events).astype(np.int32)
    night, below = rng.random(events) < 0.5, rng.random(events) < np.where(items // 8 % 2, 0.85, 0.15)
    below = np.where(items == TWINS[0], False, np.where(items == TWINS[1], True, below))
    log_odds = np.where(items % 2 == night, 1.5, -2.5) - 2.0 * below
    labels = (rng.random(events) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)[:, None]
    context = np.stack([night, below], axis=1).astype(np.int32) + 1
    log = Events(users, items, np.arange(events, dtype=np.int64), labels, context)
    spec = replace(data.spec, negatives="impressions", history_ordered=True, context_fields=CONTEXT_FIELDS)
    vocabularies = data.encoder.vocabularies | {"context.hour": np.array([b"day", b"night"]),
                                                "context.position": np.array([b"1", b"2"])}
    encoder = FeatureEncoder(spec, vocabularies, {}, data.encoder.item_ids)
    held = np.zeros(events, bool)
    held[rng.permutation(events)[:events // 5]] = True
    return replace(data, spec=spec, encoder=encoder, train=log.where(~held), test=log.where(held))


def not_reading(data: Dataset) -> Dataset:
    """The same log, declared as if the model read no context."""
    spec = replace(data.spec, context_fields=())
    train, test = (replace(events, context=None) for events in (data.train, data.test))
    return replace(data, spec=spec, encoder=replace(data.encoder, spec=spec), train=train, test=test)
