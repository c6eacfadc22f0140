"""The source snap-ads on a made-up file: what the data folder holds, and what is refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import snap_ads
from model.sources.snap_ads import SnapAds
from model.sources.truth import TrueWorld
from tests.model.sources.snap import ADS, write_ads


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("snap") / "data"
    said = snap_ads.write(write_ads(tmp_path_factory.mktemp("source")), out, users=60, events=900, seed=3)
    return out, said


def test_all_ads_come_through_with_their_targeting_and_who_pays(folder):
    out, said = folder
    assert said.startswith("8 ads with 6 distinct targetings, 1 with circles, of 1 advertisers and 2 campaigns")
    ads = pq.read_table(out / "ads.parquet").to_pydict()
    assert ads["ad_id"] == sorted(ad["ad_id"] for ad in ADS)
    assert ads["campaign"] == ["org1-USD"] * 5 + ["org2-EUR"] * 2 + ["org1-USD"]
    assert json.loads(ads["targeting"][0]) == {"all": [
        {"field": "country", "in": ["lemuria"]}, {"field": "connection", "in": ["WIFI"]},
        {"field": "audiences", "in": ["Provided by Advertiser"]}, {"not": {"field": "venues", "in": ["Airports"]}}]}
    data = load_dataset(out)
    assert data.spec.roles == {"advertiser": "advertiser", "campaign": "campaign"}
    assert len(data.targeting.distinct) == 6


def test_budgets_are_what_a_campaign_spent_over_its_days(folder):
    campaigns = {row["campaign"]: row for row in pq.read_table(folder[0] / "campaigns.parquet").to_pylist()}
    assert campaigns["org2-EUR"] == {"campaign": "org2-EUR", "currency": "EUR", "ads": 2, "spend_micros": 80_000_000,
                                     "days": 5, "daily_budget_micros": 16_000_000}
    assert campaigns["org1-USD"]["spend_micros"] == 60_000_000


def test_the_log_follows_the_planted_truth(folder):
    out, _ = folder
    data, truth = load_dataset(out), TrueWorld.open(out)
    assert len(data.train) + len(data.test) == 900
    assert len(truth.users.age) == 60
    years = pq.read_table(out / "users.parquet")["years"].to_numpy()
    assert (truth.users.age == np.searchsorted([18, 25, 35, 45, 55, 65], years, side="right")).all()
    assert np.load(out / "truth" / "users.place.npy").shape == (60, 2)


@pytest.mark.parametrize(("change", "says"), [
    ({"age": "old"}, "ad 'z9': age is 'old'"),
    ({"radius_included": "latitude 91;longitude 0;radius 1"}, "ad 'z9': radius is"),
    ({"country": "x" * 200}, "ad 'z9': targeting.all[0].in[0] has 200 bytes"),
])
def test_an_ad_that_cannot_be_read_is_named(tmp_path, change, says):
    with pytest.raises(DataError) as caught:
        SnapAds.read(write_ads(tmp_path, [*ADS, {"ad_id": "z9"} | change]))
    assert says in str(caught.value)


def test_a_folder_without_the_file_and_a_file_without_ads_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"ads.csv.gz does not exist; --source must name"):
        SnapAds.read(tmp_path)
    with pytest.raises(DataError, match="has no ads"):
        SnapAds.read(write_ads(tmp_path, []))
