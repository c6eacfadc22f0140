"""Columns `bid` and `bid_type` of ads.parquet: carried by item row, and refused with the row where they are wrong."""

import dataclasses

import pyarrow as pa
import pytest

from index_store.declaration.spec import FieldSpec, TaskSpec
from index_store.declaration.values import FeatureError
from index_store.value.bids import Bid
from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import parquet


def offered(tiny, bids=(5, None, 2_500_000, 9), types=("CPM", None, "CPC", "CPC"), kind=None):
    """The tiny log with bids of its ads b, a, c, d (in this order), whose clicks can be paid for."""
    tiny.spec = dataclasses.replace(tiny.spec, tasks=(dataclasses.replace(tiny.spec.tasks[0], bid_type="CPC"),
                                                      *tiny.spec.tasks[1:]))
    for name, column in (("bid", pa.array(bids, kind)), ("bid_type", types and pa.array(types, pa.string()))):
        if column:
            tiny.tables["ads"] = tiny.tables["ads"].append_column(name, column)
    return tiny


def test_bids_follow_their_ads_when_rows_are_sorted_and_brought_in(tiny, tmp_path):
    expected = [None, Bid(5, "CPM"), Bid(2_500_000, "CPC"), Bid(9, "CPC")]
    read = load_dataset(offered(tiny).save(tmp_path / "log"))
    assert [read.bids.bid(row) for row in range(4)] == expected  # ads a, b, c, d
    parquet.write(tmp_path / "log", tmp_path / "data")
    again = load_dataset(tmp_path / "data")
    assert [again.bids.bid(row) for row in range(4)] == expected
    assert again.spec.paid == {"CPM": None, "CPC": 0}


def test_there_are_no_bids_where_all_are_null_or_the_columns_are_missing(tiny, tmp_path):
    assert load_dataset(tiny.save(tmp_path / "without")).bids is None
    assert load_dataset(offered(tiny, [None] * 4, [None] * 4).save(tmp_path / "null")).bids is None


@pytest.mark.parametrize(("given", "says"), [
    ({"bids": (5, None, -1, 9)}, r"ads.parquet.*'bid'.*row 2.*-1.*outside 1\.\.1000000000000"),
    ({"bids": (0, None, 1, 9)}, "'bid'.*row 0.*outside"), ({"bids": (5, None, 10**12 + 1, 9)}, "'bid'.*outside"),
    ({"bids": (5.0, None, float("nan"), 9.0)}, "'bid' has type double, which cannot be read as int64"),
    ({"bids": (5, 5, 5, 5)}, "'bid_type'.*row 1.*is null beside"),
    ({"bids": (None, None, 5, 5)}, "'bid'.*row 0.*is null beside"),
    ({"types": ("CPM", None, "cpc", "CPC")}, "'bid_type'.*row 2.*'cpc'.*is none of CPM, CPC"),
    ({"types": ("CPM", None, "CPA", "CPC")}, "'bid_type'.*row 2.*is none of CPM, CPC; .*declare in features.json"),
    ({"types": None}, "column 'bid_type' is missing, the file has 'bid'")])
def test_bids_are_refused_with_the_row_and_value(tiny, tmp_path, given, says):
    with pytest.raises(DataError, match=says):
        load_dataset(offered(tiny, **given).save(tmp_path))


@pytest.mark.parametrize(("changes", "says"), [
    ({"tasks": (TaskSpec("click", bid_type="CPM"),)}, "bid_type 'CPM' of 'click' is unknown; use one of CPC, CPA"),
    ({"tasks": (TaskSpec("click", bid_type="CPC"), TaskSpec("buy", bid_type="CPC"))},
     "bid_type 'CPC' is given to 'click' and 'buy'; give it once"),
    ({"item_fields": (FieldSpec("brand", "categorical", "agency"),)}, "role 'agency' of 'brand' is unknown"),
    ({"item_fields": (FieldSpec("price", "dense", "campaign"),)}, "'price', which is not a categorical item field"),
    ({"user_fields": (FieldSpec("id", "categorical", "campaign"),)}, "'id', which is not a categorical item field"),
    ({"item_fields": (FieldSpec("bid", "dense"),)}, "'bid' is not a usable name")])
def test_declaration_of_who_pays_is_refused_where_it_is_wrong(tiny, changes, says):
    with pytest.raises(FeatureError, match=says):
        dataclasses.replace(tiny.spec, key_families=tiny.spec.key_families[:1], **changes)


def test_roles_name_their_fields(tiny):
    spec = dataclasses.replace(tiny.spec, item_fields=(*tiny.spec.item_fields,
                                                       FieldSpec("owner", "categorical", "advertiser")))
    assert spec.roles == {"advertiser": "owner"}
