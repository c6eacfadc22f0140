"""Column `targeting` of ads.parquet: carried by item row, distinct, and refused with ad and path where it is wrong."""

import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.declaration.spec import FieldSpec
from index_store.declaration.values import FeatureError
from index_store.targeting.predicates import to_json
from model.data.load import load_dataset
from model.data.tables import DataError, write_folder
from model.sources import parquet, synthetic

DUTCH = {"field": "country", "in": ["nl"]}
EVENING = {"all": [{"field": "hour", "at_least": 18.0}, DUTCH]}


@pytest.fixture
def targeted(tiny):
    """The tiny log whose ads b, a, c, d (in this order) have predicates; two of them say the same."""
    tiny.spec = dataclasses.replace(tiny.spec, context_fields=(FieldSpec("hour", "dense"),))
    texts = [json.dumps(EVENING), None, json.dumps(DUTCH, indent=3), '{"in": ["nl", "nl"], "field": "country"}']
    tiny.tables["ads"] = tiny.tables["ads"].append_column("targeting", pa.array(texts, pa.string()))
    return tiny


def check(found):
    assert [to_json(predicate) for predicate in found.distinct] == [EVENING, DUTCH]
    assert found.of_row.tolist() == [0, 1, 2, 2]  # ads a, b, c, d


def test_predicates_follow_their_ads_when_rows_are_sorted(targeted, tmp_path):
    check(load_dataset(targeted.save(tmp_path)).targeting)


def test_predicates_are_kept_when_a_log_is_brought_in(targeted, tmp_path):
    parquet.write(targeted.save(tmp_path / "log"), tmp_path / "data")
    data = load_dataset(tmp_path / "data")
    check(data.targeting)
    assert data.spec.context_fields == (FieldSpec("hour", "dense"),)


def test_predicates_are_kept_when_a_source_writes_its_tables(targeted, tmp_path):
    tables = targeted.tables
    write_folder(tmp_path, targeted.spec, tables["users"], tables["ads"], tables["events"])
    check(load_dataset(tmp_path).targeting)


def test_there_is_no_targeting_when_the_column_is_missing_or_null(tiny, tmp_path):
    assert load_dataset(tiny.save(tmp_path)).targeting is None
    for kind in (pa.string(), pa.null()):
        tiny.tables["ads"] = tiny.tables["ads"].select(["ad_id", "price", "brand", "tags"]).append_column(
            "targeting", pa.array([None] * 4, kind))
        tiny.save(tmp_path)
        parquet.write(tmp_path, tmp_path / "data")
        assert load_dataset(tmp_path / "data").targeting is None


@pytest.mark.parametrize(("text", "says"), [
    ("country = nl", "targeting is not valid JSON"),
    ("", "targeting is not valid JSON"),
    ('{"field": "weather", "in": []}', "targeting.field is 'weather', not a field that can be read here; "
                                       "use one of age, country, hour, interests"),
    ('{"all": [{"field": "country", "in": ["nl", 1.5]}]}', r"targeting.all\[0\].in\[1\] 1.5 is a float"),
    ('{"field": "price", "at_least": 3}', "targeting.field is 'price'"),
])
def test_a_predicate_is_refused_with_ad_and_path_when_it_is_wrong(targeted, tmp_path, text, says):
    targeted.change("ads", "targeting", pa.array([None, json.dumps(DUTCH), text, None]))
    folder = targeted.save(tmp_path / "log")
    for read in (load_dataset, lambda log: parquet.write(log, tmp_path / "data")):
        with pytest.raises(DataError, match=r"ads\.parquet: ad 'c': " + says):
            read(folder)
    assert not (tmp_path / "data" / "features.json").exists()


def test_a_column_is_refused_when_it_is_no_text(targeted, tmp_path):
    targeted.change("ads", "targeting", pa.array([1.5, None, None, None]))
    with pytest.raises(DataError, match="column 'targeting' has type double, which cannot be read as string"):
        load_dataset(targeted.save(tmp_path))


@pytest.mark.parametrize(("fields", "says"), [
    ((FieldSpec("age", "dense"),), "'age' is declared twice"),
    ((FieldSpec("hour", "number"),), "kind 'number' of 'hour'"),
    ((FieldSpec("targeting", "dense"),), "'targeting' is not a usable name"),
])
def test_context_fields_are_refused_when_they_are_no_fields(tiny, fields, says):
    with pytest.raises(FeatureError, match=says):
        dataclasses.replace(tiny.spec, context_fields=fields)


def test_ads_accept_inventories_as_declared_when_the_world_is_synthetic(tmp_path):
    ads = 20_000
    synthetic.write(tmp_path, ads, 50, 500, seed=3)
    texts = pq.read_table(tmp_path / "ads.parquet")["targeting"].to_pylist()
    refused = [set(json.loads(text)["not"]["in"]) if text else set() for text in texts]
    for name, share in (("open", 0.5), ("premium", 0.05), ("kids", 0.005), ("exclusive", 0.0001)):
        accepted = sum(name not in names for names in refused)
        assert abs(accepted - share * ads) < 4.5 * (share * (1 - share) * ads) ** 0.5 + 1
    assert load_dataset(tmp_path).spec.context_fields == (FieldSpec("inventory", "categorical"),)
