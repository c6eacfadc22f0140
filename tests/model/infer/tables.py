"""A log whose declaration is planted, as one wide table, and ways to write it down."""

import csv
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CITIES = ("Amsterdam", "Berlin", "Cadiz", "Delft", "Essen")
GENRES = ("action", "comedy", "drama", "film nöir")


def wide(users=40, ads=25, events=900, seed=0):
    """Impressions: `city` and `age` are the user's, `price`, `shop_city` and `genres` the ad's."""
    rng = np.random.default_rng(seed)
    city, age = rng.integers(0, 5, users), rng.integers(18, 70, users)
    price, shop, genres = rng.uniform(1, 90, ads).round(2), rng.integers(0, 5, ads), rng.integers(1, 15, ads)
    user, ad = rng.integers(0, users, events), rng.integers(0, ads, events)
    click = rng.random(events) < 0.25
    order = click & (rng.random(events) < 0.3)
    return {
        "userId": (1000 + user).tolist(), "item_id": [f"i{n:03d}" for n in ad],
        "event_time": (1_600_000_000 + np.sort(rng.integers(0, 10**6, events))).tolist(),
        "click": click.astype(int).tolist(), "purchase": order.astype(int).tolist(),
        "city": [CITIES[n] for n in city[user]], "age": [None if n == 3 else int(age[n]) for n in user],
        "price": price[ad].tolist(), "shop_city": [CITIES[n] for n in shop[ad]],
        "genres": ["|".join(g for bit, g in enumerate(GENRES) if n >> bit & 1) for n in genres[ad]],
        "placement": rng.choice(["top", "side"], events).tolist(),
    }


PLANTED = {
    "user_fields": {"city": "categorical", "age": "dense"},
    "item_fields": {"price": "dense", "shop_city": "categorical", "genres": "multi"},
    "tasks": ["click", "purchase"], "negatives": "impressions", "history_ordered": True, "user_ids": True,
    "context_fields": {"placement": ("categorical", True, "")},
    "key_families": {"city_is_shop_city", "shop_city", "genres", "item_to_item"},
}


def summary(spec):
    """The parts of a declaration that are planted."""
    return {"user_fields": {f.name: f.kind for f in spec.user_fields},
            "item_fields": {f.name: f.kind for f in spec.item_fields},
            "tasks": [task.name for task in spec.tasks], "negatives": spec.negatives,
            "context_fields": {f.name: (f.kind, f.model, f.serve_as) for f in spec.context_fields},
            "history_ordered": spec.history_ordered, "user_ids": spec.user_ids,
            "key_families": {family.name for family in spec.key_families}}


def write_csv(path, columns, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def part(columns, start, stop):
    return {name: values[start:stop] for name, values in columns.items()}


def told(guesses, about):
    """Value and reason of the guess about something."""
    return next((guess.value, guess.why) for guess in guesses if guess.about == about)
