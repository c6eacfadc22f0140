"""Beibei: purchases in an online shop, predicted from carts and purchases. Users and items have ids but no fields.

Each line of `cart_train.txt`, `buy_train.txt` and `buy_test.txt` is `user item …`. 62 % of the test buys are also in
`cart_train`, put there by the very purchase that is to be predicted, so these pairs are removed from the carts.
`baseline.json` holds the recall that this leak would have given, to be printed next to every result.

Rows are the union of cart and buy pairs with labels `buy` and `cart`. Only train buys are masked at evaluation. Lines
are sorted by item id, and a user's test item tends to have a high one: of the carted, not bought items, the ten with
the highest ids hold 61 % of the test buys and the ten with the lowest 19 %. So nothing here ranks by id.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec, KeyFamily, TaskSpec
from model.data.tables import write_folder
from model.progress.bars import Bar
from model.sources.lines import as_text, positives, read_lines

SPEC = FeatureSpec(
    user_fields=(),
    item_fields=(),
    tasks=(TaskSpec("buy"), TaskSpec("cart")),
    negatives="sampled",
    key_families=(KeyFamily("item_to_item", "ad_id", "co_click", 100),
                  KeyFamily("similar_users", "ad_id", "similar_users", 50)),
    history_length=50,
    history_ordered=False,
)

CUTOFFS = (20, 100)


def write(source: Path, out: Path) -> None:
    """Turns the source folder into a data folder, with `baseline.json` beside the tables.

    Raises:
        DataError: a file is missing or malformed.
    """
    with Bar(total=4, desc="beibei", unit="file") as bar:
        pairs = []
        for name in ("cart_train.txt", "buy_train.txt", "buy_test.txt"):
            pairs.append(read_lines(source, name))
            bar.update()
        n_users = 1 + max(int(users.max(initial=-1)) for users, _ in pairs)
        n_items = 1 + max(int(items.max(initial=-1)) for _, items in pairs)
        cart, buy, test = (np.unique(users * n_items + items) for users, items in pairs)
        kept = np.setdiff1d(cart, test, assume_unique=True)
        train = np.union1d(kept, buy)
        baseline = {"carted, not bought": carted_not_bought(cart, buy, test, n_users, n_items),
                    "removed_cart_pairs": len(cart) - len(kept)}
        write_folder(out, SPEC, pa.table({"user_id": as_text(np.arange(n_users))}),
                     pa.table({"ad_id": as_text(np.arange(n_items))}),
                     positives(train // n_items, train % n_items, buy=np.isin(train, buy), cart=np.isin(train, kept)),
                     positives(test // n_items, test % n_items, buy=np.ones(len(test), np.int8),
                               cart=np.zeros(len(test), np.int8)), baseline)
        bar.update()


def carted_not_bought(cart: NDArray[np.int64], buy: NDArray[np.int64], test: NDArray[np.int64], n_users: int,
                      n_items: int) -> dict[str, float]:
    """Recall of ranking first what the user carted and did not buy, then the rest; by number of train buys within both.

    Train buys are not ranked. Ties go to the lower id. Mean over users with a test buy.

    Args:
        cart, buy, test: sorted pairs as `user * n_items + item`; carts before any were taken out.

    Returns:
        `recall@20`, `recall@100`.
    """
    popularity = np.bincount(buy % n_items, minlength=n_items)
    place = np.empty(n_items, np.int64)
    place[np.argsort(-popularity, kind="stable")] = np.arange(n_items)

    def by_place(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.sort(pairs // n_items * n_items + place[pairs % n_items])

    first = by_place(np.setdiff1d(cart, buy, assume_unique=True))
    seen = by_place(np.union1d(cart, buy))
    users, places = test // n_items, place[test % n_items]
    start = users * n_items
    ahead_carted = np.searchsorted(first, start + places) - np.searchsorted(first, start)
    carted = np.searchsorted(first, start + n_items) - np.searchsorted(first, start)
    ahead_seen = np.searchsorted(seen, start + places) - np.searchsorted(seen, start)
    rank = np.where(np.isin(start + places, first), ahead_carted, carted + places - ahead_seen)
    of_user = np.bincount(users, minlength=n_users)
    return {f"recall@{k}": float(np.sum((rank < k) / of_user[users]) / np.count_nonzero(of_user)) for k in CUTOFFS}
