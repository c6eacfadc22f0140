"""The log of a moving world: the same for a seed, an ordinary data folder before day 1, and a window for each day."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import read_spec, side_schema
from model.data.windows import ENDED, day_folder
from model.sources import synthetic_days
from model.sources.truth import TrueWorld
from model.sources.world import sigmoid
from tests.model.data.logs import assert_calibrated
from tests.model.sources.test_synthetic import files, same

ADS, USERS, EVENTS, DAYS, SEED = 400, 600, 40_000, 5, 4


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    synthetic_days.write(folder, ADS, USERS, EVENTS, SEED, DAYS, 0.05)
    return folder


def test_a_world_is_the_same_for_a_seed_and_shares_its_days_with_a_longer_one(moving, tmp_path):
    synthetic_days.write(tmp_path / "other", ADS, USERS, EVENTS, SEED + 1, DAYS, 0.05)
    synthetic_days.write(tmp_path / "longer", ADS, USERS, EVENTS, SEED, DAYS + 1, 0.05)
    one, other, longer = map(files, (moving, tmp_path / "other", tmp_path / "longer"))
    assert not any(same(one[name], other[name]) for name in one if name.endswith("events.parquet"))
    assert [name for name in one if not same(one[name], longer[name])] == []


def test_the_log_before_the_first_day_is_an_ordinary_data_folder_with_its_truth(moving):
    data, truth = load_dataset(moving), TrueWorld.open(moving)
    assert len(data.train) + len(data.test) == EVENTS
    assert len(data.test) == EVENTS / 10
    assert len(data.items) == len(truth.ads.price) == ADS
    assert data.test.timestamps.min() > data.train.timestamps.max()
    assert [field.name for field in data.spec.context_fields] == ["inventory", "placement"]
    probabilities = sigmoid(truth.pair_logits(data.test.users, data.test.items))
    for task in range(2):
        assert_calibrated(probabilities[:, task], data.test.labels[:, task])


def test_each_day_has_the_ads_that_were_born_and_ended_and_its_events(moving):
    spec = read_spec(moving)
    active = set(pq.read_table(moving / "ads.parquet")["ad_id"].to_pylist())
    last = 0
    for day in range(1, DAYS + 1):
        folder = day_folder(moving, day)
        born = pq.read_table(folder / "ads.parquet")
        ended = pq.read_table(folder / ENDED)["ad_id"].to_pylist()
        assert born.schema.names == side_schema(spec, "item", ["targeting"]).names
        assert len(born) == len(ended) == 0.05 * ADS
        assert set(ended) <= active
        active = active - set(ended) | set(born["ad_id"].to_pylist())
        events = pq.read_table(folder / "events.parquet")
        assert len(events) == EVENTS / 10
        assert set(events["ad_id"].to_pylist()) <= active
        converted = np.array(events["conversion"]) == 1
        assert (np.array(events["conversion_at"].is_valid()) == converted).all()
        late = events["conversion_at"].drop_null().to_numpy()
        assert (late > events["timestamp"].to_numpy()[converted]).all()
        assert events["timestamp"].to_numpy().min() > last
        last = events["timestamp"].to_numpy().max()
    assert len(active) == ADS
