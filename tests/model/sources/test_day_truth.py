"""The truth of a day: its probabilities are those that the day's labels follow."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.tables import DataError
from model.data.windows import day_folder
from model.sources import synthetic_days
from model.sources.day_truth import DayTruth
from model.sources.world import sigmoid
from tests.model.data.logs import assert_calibrated

ADS, DAYS = 300, 3


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    synthetic_days.write(folder, ADS, 500, 60_000, 7, DAYS, 0.1)
    return folder


def numbers(column):
    return np.array([int(value[1:]) for value in column.to_pylist()])


@pytest.mark.parametrize("day", [1, DAYS])
def test_labels_of_a_day_follow_its_truth(moving, day):
    truth, events = DayTruth.open(moving, day), pq.read_table(day_folder(moving, day) / "events.parquet")
    users, ads = numbers(events["user_id"]), numbers(events["ad_id"])
    assert np.isin(ads, truth.active).all()
    assert len(truth.active) == ADS
    assert len(truth.world.ads.price) == ADS + day * ADS // 10
    probabilities = sigmoid(truth.world.pair_logits(users, ads))
    assert_calibrated(probabilities[:, 0], np.array(events["click"]))


def test_a_folder_without_truth_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist; only data from"):
        DayTruth.open(tmp_path, 1)
