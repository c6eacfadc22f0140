"""The synthetic log: users see ads that a logging policy picks, and click and convert with the world's probabilities.

It is written in chunks of users, and does not depend on their size; the ground truth (`truth.py`) is
stored beside the tables. Everything that the true logits read can be observed: plainly, with noise, or in the clicks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from model.data.tables import (
    ADS,
    EVENTS,
    TARGETING,
    TEST_EVENTS,
    USERS,
    DataError,
    event_schema,
    prepare,
    seal,
    side_schema,
    write_parts,
)
from model.progress.bars import Bar
from model.progress.ranges import ranges_of
from model.sources.context_world import HOUR, HOURS, POSITION, TrueContext, hour_text, with_context
from model.sources.draws import Draws
from model.sources.truth import TruthWriter
from model.sources.world import (
    SLOTS,
    Ads,
    Shape,
    Users,
    click_logits,
    draw_ads,
    draw_users,
    rested_logits,
    sigmoid,
)

SPEC = FeatureSpec(
    user_fields=(FieldSpec("age_group", "categorical"), FieldSpec("gender", "categorical"),
                 FieldSpec("region", "categorical"), FieldSpec("device", "categorical"),
                 FieldSpec("segment", "categorical"), FieldSpec("interests", "multi"),
                 FieldSpec("favourite_brands", "multi"), FieldSpec("activity", "dense")),
    item_fields=(FieldSpec("category", "categorical"), FieldSpec("brand", "categorical"),
                 FieldSpec("price_bucket", "categorical"), FieldSpec("format", "categorical"),
                 FieldSpec("tags", "multi"), FieldSpec("quality", "dense"), FieldSpec("rating", "dense")),
    tasks=(TaskSpec("click", bid_type="CPC"), TaskSpec("conversion", bid_type="CPA")),
    negatives="impressions",
    key_families=(KeyFamily("category", "category", "match"), KeyFamily("brand", "brand", "match"),
                  KeyFamily("item_to_item", "ad_id", "co_click", 50),
                  KeyFamily("category_to_category", "category", "co_click", 10),
                  KeyFamily("interest", "category", "match", user_field="interests"),
                  KeyFamily("loyalty", "brand", "match", user_field="favourite_brands")),
    history_length=50,
    history_ordered=True,
    context_fields=(FieldSpec("inventory", "categorical"),),
)

FROM_INTERESTS, FROM_BRANDS = 0.4, 0.1
"""Shares of impressions that the logging policy draws from the user's interests and brands; the rest is uniform."""

TEST_SHARE = 0.1
EVENT_SKEW = 0.7
FIRST_SECOND = 1_700_000_000
MEAN_GAP = 20_000

ACCEPTED = {"open": 0.5, "premium": 0.05, "kids": 0.005, "exclusive": 0.0001}
"""Share of the ads that accept to be shown on each inventory. Where a request names none, every ad may be shown: what
the log shows and the truth that it follows do not depend on these."""

INTEREST_SHOWN, BRAND_SHOWN, SEGMENT_RIGHT = 0.9, 0.8, 0.8
NOISE = 0.3


@dataclass(frozen=True)
class Catalogue:
    """The ads, and where those of each category and brand are: rows `by[start[c]:start[c + 1]]`."""

    ads: Ads
    shape: Shape
    by_category: NDArray[np.int64]
    category_starts: NDArray[np.int64]
    by_brand: NDArray[np.int64]
    brand_starts: NDArray[np.int64]

    @classmethod
    def of(cls, ads: Ads, shape: Shape) -> Catalogue:
        starts = [np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))])
                  for of, n in ((ads.category, shape.categories), (ads.brand, shape.brands))]
        return cls(ads, shape, np.argsort(ads.category, kind="stable"), starts[0],
                   np.argsort(ads.brand, kind="stable"), starts[1])


def write(out: Path, ads: int, users: int, events: int, seed: int, chunk_users: int = 1 << 16, *,
          context: bool = False) -> None:
    """Writes a world of the given size: users.parquet, ads.parquet, events, the last tenth as test, and the truth.

    With `context`, hour and position of an impression matter, and are columns of the events.

    Raises:
        DataError: a size is not positive, or does not fit ids and rows of the format.
    """
    check_sizes(ads, users, events)
    prepare(out)
    draws = Draws(seed)
    shape, ad_rows = Shape.of(ads), np.arange(ads)
    catalogue = Catalogue.of(draw_ads(draws, ad_rows, shape), shape)

    def people_of(rows: NDArray[np.int64]) -> tuple[Users, pa.Table]:
        people = draw_users(draws, rows, shape)
        return people, user_table(draws, rows, people, shape, numbered("u", rows, users))

    def tables() -> Iterator[pa.Table]:
        for part in ranges_of(ads):
            rows = ad_rows[part.rows]
            yield ad_table(draws, rows, catalogue.ads.take(part.rows), shape, numbered("a", rows, ads))

    spec, planted = (with_context(SPEC), TrueContext.of(draws, shape.categories)) if context else (SPEC, None)
    write_log(out, spec, draws, catalogue, tables(), users, events, people_of, chunk_users, planted)


def write_log(out: Path, spec: FeatureSpec, draws: Draws, catalogue: Catalogue, ads: Iterable[pa.Table], users: int,
              events: int, people_of: Callable[[NDArray[np.int64]], tuple[Users, pa.Table]],
              chunk_users: int = 1 << 16, context: TrueContext | None = None) -> None:
    """Writes all tables of a world and its truth into a folder that is prepared.

    Args:
        out: data folder.
        spec: declares the fields of users and ads; tasks as in SPEC.
        draws: of the log.
        catalogue: what the truth knows of the ads.
        ads: parts of `ads.parquet`, in the order of the catalogue, ids rising.
        users, events: how many.
        people_of: users of some numbers, and their rows of `users.parquet`, ids rising.
        chunk_users: users at a time.
        context: what the context of an impression does, which the declaration then names; None for nothing.
    """
    truth = TruthWriter(out, catalogue.ads, users, context=context)
    parts = Bar(ads, desc="ads", unit="part", total=len(ranges_of(len(catalogue.ads.category))))
    ad_ids = write_parts(out / ADS, parts, "ad_id")
    event_ends = _event_ends(draws, users, events)
    schemas = {USERS: side_schema(spec, "user"), EVENTS: event_schema(spec), TEST_EVENTS: event_schema(spec)}
    writers = {name: pq.ParquetWriter(out / name, schema, write_page_checksum=True) for name, schema in schemas.items()}
    with Bar(total=events, desc="log", unit="event", unit_scale=True) as bar:
        for start in range(0, users, chunk_users):
            rows = np.arange(start, min(start + chunk_users, users))
            people, table = people_of(rows)
            user_ids = table["user_id"].combine_chunks()
            writers[USERS].write_table(table)
            log = _log(draws, rows, people, catalogue, event_ends, context)
            truth.write(start, people)
            for name, part in ((EVENTS, ~log["test"]), (TEST_EVENTS, log["test"])):
                writers[name].write_table(pa.table({
                    "user_id": user_ids.take(pa.array(log["owner"][part])),
                    "ad_id": ad_ids.take(pa.array(log["ad"][part])),
                    "timestamp": log["timestamp"][part],
                    "click": log["click"][part].astype(np.int8),
                    "conversion": log["conversion"][part].astype(np.int8),
                    **{field.name: log[field.name][part] for field in spec.model_context}}, schema=event_schema(spec)))
            bar.update(len(log["ad"]))
    for writer in writers.values():
        writer.close()
    if not pq.read_metadata(out / TEST_EVENTS).num_rows:  # a world of a handful of events
        (out / TEST_EVENTS).unlink()
    seal(out, spec)


def check_sizes(ads: int, users: int, events: int) -> None:
    """Raises DataError for a size that is not positive, or does not fit ids and rows of the format."""
    for name, value in (("ads", ads), ("users", users), ("events", events)):
        if not 1 <= value < 1 << 31:
            raise DataError(f"--{name} is {value}; give a number from 1 to {(1 << 31) - 1}")


def numbered(prefix: str, numbers: NDArray[np.integer], total: int) -> pa.Array:
    """Ids such as `a00017`, as wide as the largest of `total` needs, so that they sort by number."""
    width = max(2, len(str(total - 1)))
    text = np.empty((len(numbers), 1 + width), np.uint8)
    text[:, 0] = ord(prefix)
    text[:, 1:] = ord("0") + numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * (1 + width)
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _event_ends(draws: Draws, users: int, events: int) -> NDArray[np.int64]:
    """(users + 1,) first event number of each user: a few users see many ads, most see few."""
    weights = np.exp(EVENT_SKEW * draws.normal("events of user", np.arange(users)))
    ends = np.cumsum(weights)
    return np.concatenate([[0], np.rint(ends / ends[-1] * events).astype(np.int64)])


def _log(draws: Draws, rows: NDArray[np.int64], people: Users, catalogue: Catalogue, event_ends: NDArray[np.int64],
         planted: TrueContext | None) -> dict[str, NDArray[Any]]:
    """The impressions of a chunk of users in order of user and time; leaves `people.recent` after train.

    All test impressions of a user meet the state after the last train impression: what a server would know then.

    Returns:
        Columns (N,): owner (row within the chunk), ad, timestamp, click, conversion, test, hour and position.
    """
    first, last = event_ends[rows], event_ends[rows + 1]
    counts = last - first
    owner = np.repeat(np.arange(len(rows)), counts)
    number = np.arange(event_ends[rows[0]], event_ends[rows[-1] + 1])
    ad = shown(draws, number, people, owner, catalogue)
    held_out = np.minimum(counts, np.floor(TEST_SHARE * counts + draws.uniform("held out", rows))).astype(np.int64)
    test = number >= np.repeat(last - held_out, counts)
    viewers, ads = people.take(owner), catalogue.ads.take(ad)
    rested, conversion_logit = rested_logits(viewers, ads)
    timestamp = _timestamps(draws, number, first - event_ends[rows[0]], counts)
    hour, position = timestamp // 3600 % HOURS, np.zeros(len(number), np.int64)
    if planted is not None:
        position = planted.positions(draws, number, ad, rested)
        rested = rested + planted.effect(position, hour, ads.category)
    luck = draws.uniform("click", number)
    click = _clicks(people, first - event_ends[rows[0]], counts - held_out, ads.category, rested, luck)
    final = sigmoid(click_logits(rested, people.recent[owner], ads.category))
    click = np.where(test, luck < final, click)
    conversion = click & (draws.uniform("conversion", number) < sigmoid(conversion_logit))
    return {"owner": owner, "ad": ad, "timestamp": timestamp, "click": click, "conversion": conversion, "test": test,
            HOUR: hour_text(hour), POSITION: (position + 1).astype(str)}


def _timestamps(draws: Draws, number: NDArray[np.int64], starts: NDArray[np.int64],
                counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times (N,) of impressions, each user's from FIRST_SECOND on; users begin at `starts` (U,)."""
    gaps = 60 - (MEAN_GAP * np.log1p(-draws.uniform("gap", number))).astype(np.int64)
    elapsed = np.cumsum(gaps)
    before = np.concatenate([[0], elapsed])[starts]
    times: NDArray[np.int64] = FIRST_SECOND + elapsed - np.repeat(before, counts)
    return times


def _clicks(people: Users, starts: NDArray[np.int64], counts: NDArray[np.int64], category: NDArray[np.int32],
            rested: NDArray[np.float32], luck: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Train clicks, event by event for all users at once, since each click tires its category; updates `recent`."""
    click = np.zeros(len(category), np.bool_)
    busiest = np.argsort(-counts, kind="stable")
    recent, starts = people.recent[busiest], starts[busiest]
    active = np.searchsorted(-counts[busiest], -np.arange(int(counts.max(initial=0))))  # users with more than t events
    for t, n in enumerate(active):
        at = starts[:n] + t
        hit = luck[at] < sigmoid(click_logits(rested[at], recent[:n], category[at]))
        click[at] = hit
        recent[:n][hit] = np.concatenate([category[at[hit], None], recent[:n][hit, :-1]], axis=1)
    people.recent[busiest] = recent
    return click


def shown(draws: Draws, number: NDArray[np.int64], people: Users, owner: NDArray[np.int64],
          catalogue: Catalogue) -> NDArray[np.int64]:
    """The ad of each impression: from an interest, from a loyal brand, or any."""
    source = draws.uniform("policy", number)
    place = draws.uniform("ad shown", number)
    slot = draws.integers("slot", number, SLOTS)
    ad = (place * len(catalogue.ads.category)).astype(np.int64)
    for keys, by, starts, chosen in (
        (people.interests, catalogue.by_category, catalogue.category_starts, source < FROM_INTERESTS),
        (people.brands, catalogue.by_brand, catalogue.brand_starts,
         (source >= FROM_INTERESTS) & (source < FROM_INTERESTS + FROM_BRANDS)),
    ):
        at = np.flatnonzero(chosen)
        key = keys[owner[at], slot[at]]
        length = starts[key + 1] - starts[key]
        at, key, length = at[length > 0], key[length > 0], length[length > 0]  # an empty brand: any ad
        ad[at] = by[starts[key] + (place[at] * length).astype(np.int64)]
    return ad


def ad_table(draws: Draws, row: NDArray[np.int64], ads: Ads, shape: Shape, ids: pa.Array) -> pa.Table:
    """Rows of `ads.parquet`."""
    tags = np.stack([ads.department, np.full(len(row), shape.departments),
                     np.full(len(row), shape.departments + 1)], axis=1)
    names = pa.array([*(f"dept_{d}" for d in range(shape.departments)), "sale", "new"])
    return pa.table({
        "ad_id": ids,
        "category": _codes("c", ads.category),
        "brand": _codes("b", ads.brand),
        "price_bucket": _codes("p", ads.price),
        "format": _codes("f", ads.format),
        "tags": lists(tags, np.stack([np.ones(len(row), np.bool_), ads.sale, ads.new], axis=1), names),
        "quality": (ads.quality + NOISE * draws.normal("quality noise", row)).astype(np.float32),
        "rating": (ads.rating + NOISE * draws.normal("rating noise", row)).astype(np.float32),
        TARGETING: _predicates(draws, row),
    }, schema=side_schema(SPEC, "item", [TARGETING]))


def _predicates(draws: Draws, row: NDArray[np.int64]) -> pa.Array:
    """Predicate of each ad: which inventories it refuses."""
    refused = np.stack([draws.uniform(f"accepts {name}", row) >= share for name, share in ACCEPTED.items()], axis=1)
    texts: list[str | None] = [None]
    for bits in range(1, 1 << len(ACCEPTED)):
        names = [name for at, name in enumerate(ACCEPTED) if bits >> at & 1]
        texts.append(json.dumps({"not": {"field": "inventory", "in": names}}))
    return pa.array(texts, pa.string()).take(pa.array(refused @ (1 << np.arange(len(ACCEPTED)))))


def user_table(draws: Draws, rows: NDArray[np.int64], people: Users, shape: Shape, ids: pa.Array) -> pa.Table:
    """Rows of `users.parquet`."""
    slots = rows[:, None] * SLOTS + np.arange(SLOTS)
    segment = np.where(draws.uniform("segment right", rows) < SEGMENT_RIGHT, people.departments[:, 0],
                       draws.integers("segment", rows, shape.departments))
    return pa.table({
        "user_id": ids,
        "age_group": _codes("age", people.age),
        "gender": pa.array(np.array(["f", "m", "x"])[people.gender], mask=draws.uniform("no gender", rows) < 0.05),
        "region": _codes("r", people.region),
        "device": _codes("d", people.device),
        "segment": _codes("s", segment),
        "interests": lists(people.interests, draws.uniform("interest shown", slots) < INTEREST_SHOWN,
                            _codes("c", np.arange(shape.categories))),
        "favourite_brands": lists(people.brands, draws.uniform("brand shown", slots) < BRAND_SHOWN,
                                   _codes("b", np.arange(shape.brands))),
        "activity": (people.activity + NOISE * draws.normal("activity noise", rows)).astype(np.float32),
    }, schema=side_schema(SPEC, "user"))


def _codes(prefix: str, numbers: NDArray[np.integer]) -> pa.Array:
    """Category codes such as `c17`."""
    largest = int(numbers.max(initial=0))
    return pa.array([f"{prefix}{n}" for n in range(largest + 1)]).take(pa.array(numbers))


def lists(codes: NDArray[np.integer], shown: NDArray[np.bool_], names: pa.Array) -> pa.Array:
    """Lists of the names of the codes (N, M) that are shown, each once."""
    for slot in range(1, codes.shape[1]):
        shown[:, slot] &= ~(codes[:, :slot] == codes[:, slot : slot + 1]).any(axis=1)
    offsets = np.concatenate([[0], np.cumsum(shown.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(codes[shown])))
