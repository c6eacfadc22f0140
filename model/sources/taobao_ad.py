"""taobao-ad: clicks on real ads (Taobao display advertising), positives only and without times.

`train.txt` and `test.txt` hold `user ad ad …` a line, `u.user` a user and eight codes, `u.item` an ad, its category,
brand and price level. All codes are categorical. Which 0 means "missing" was decided field by field:

- `brand` 0 is on 8,631 of 24,624 ads, the next brand on a few hundred: missing, null.
- `category` 0 is a category like the others: of a user's further clicks after a click on one of its 68 ads 7.1 % fall
  into it, 41 times its share of all clicks and close to the median category's 11.8 %. Kept.
- `price_level` has two values and no third: kept.
- `pvalue_level` and `new_user_class_level` have missing values in the public description of the data, and their real
  levels start at 1: null. The description knows none in the other user fields, where 0 is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from model.data.tables import write_folder
from model.progress.bars import Bar
from model.sources.lines import as_text, positives, read_lines, read_numbers

USER_FIELDS = ("cms_segid", "cms_group_id", "gender", "age_level", "pvalue_level", "shopping_level", "occupation",
               "new_user_class_level")
ITEM_FIELDS = ("category", "brand", "price_level")
MISSING_IS_0 = ("brand", "pvalue_level", "new_user_class_level")

SPEC = FeatureSpec(
    user_fields=tuple(FieldSpec(name, "categorical") for name in USER_FIELDS),
    item_fields=tuple(FieldSpec(name, "categorical") for name in ITEM_FIELDS),
    tasks=(TaskSpec("click"),),
    negatives="sampled",
    key_families=(KeyFamily("category", "category", "match"),
                  KeyFamily("brand", "brand", "match"),
                  KeyFamily("item_to_item", "ad_id", "co_click", 100),
                  KeyFamily("category_to_category", "category", "co_click", 20),
                  KeyFamily("brand_to_brand", "brand", "co_click", 20)),
    history_length=50,
    history_ordered=False,
)


def write(source: Path, out: Path) -> None:
    """Turns the source folder into a data folder.

    Raises:
        DataError: a file is missing or malformed.
    """
    with Bar(total=5, desc="taobao-ad", unit="file") as bar:
        tables = {}
        for name, id_column, fields in (("u.user", "user_id", USER_FIELDS), ("u.item", "ad_id", ITEM_FIELDS)):
            codes = read_numbers(source, name, 1 + len(fields))
            columns = {field: as_text(codes[:, 1 + at], missing=0 if field in MISSING_IS_0 else None)
                       for at, field in enumerate(fields)}
            tables[id_column] = pa.table({id_column: as_text(codes[:, 0]), **columns})
            bar.update()
        events = []
        for name in ("train.txt", "test.txt"):
            users, ads = read_lines(source, name)
            events.append(positives(users, ads, click=np.ones(len(users), np.int8)))
            bar.update()
        write_folder(out, SPEC, tables["user_id"], tables["ad_id"], *events)
        bar.update()
