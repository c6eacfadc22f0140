"""A tiny log with every kind of field, as a user would bring it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec

TINY_SPEC = FeatureSpec(
    user_fields=(FieldSpec("age", "dense"), FieldSpec("country", "categorical"), FieldSpec("interests", "multi")),
    item_fields=(FieldSpec("price", "dense"), FieldSpec("brand", "categorical"), FieldSpec("tags", "multi")),
    tasks=(TaskSpec("click"), TaskSpec("buy")),
    negatives="impressions",
    key_families=(KeyFamily("brand", "brand", "match"),),
)


class TinyLog:
    """Tables that a test may change before `save` writes them."""

    def __init__(self) -> None:
        self.spec = TINY_SPEC
        self.tables = {
            "users": pa.table({"user_id": ["u2", "u10", "ü1"], "age": pa.array([20.0, 40.0, 60.0]),
                               "country": ["nl", None, "de"], "interests": [["cars", "tea"], [], None]}),
            "ads": pa.table({"ad_id": ["b", "a", "c", "d"], "price": pa.array([1.0, 1.0, 1.0, 1.0], pa.float32()),
                             "brand": ["x", "y", None, "x"], "tags": [["new"], ["sale", "new"], None, []]}),
            "events": pa.table({"user_id": ["ü1", "u10", "u10", "u2", "u10"], "ad_id": ["a", "b", "d", "c", "a"],
                                "timestamp": pa.array([5, 9, 3, 1, 3], pa.int64()),
                                "click": pa.array([1, 1, 0, 0, 1], pa.int8()),
                                "buy": pa.array([0, 1, 0, 0, 0], pa.int8())}),
        }

    def change(self, table: str, column: str, values: object) -> None:
        old = self.tables[table]
        self.tables[table] = old.set_column(old.column_names.index(column), column, values)

    def save(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        for name, table in self.tables.items():
            pq.write_table(table, folder / f"{name}.parquet")
        (folder / "features.json").write_text(json.dumps(self.spec.to_json()))
        return folder
