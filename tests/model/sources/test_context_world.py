"""A world with context: what it plants is in the log, its truth knows it, and pushed ads look better than they are."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.sources import synthetic
from model.sources.context_world import HOURS, POSITIONS, hour_text
from model.sources.draws import Draws
from model.sources.truth import TrueWorld
from model.sources.world import sigmoid
from tests.model.data.logs import assert_calibrated
from tests.model.planted import ADS, EVENTS, SEED, USERS


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A world with context: its folder, its log and its truth."""
    folder = tmp_path_factory.mktemp("context")
    synthetic.write(folder, ADS, USERS, EVENTS, SEED, context=True)
    return folder, load_dataset(folder), TrueWorld.open(folder)


def test_test_labels_follow_the_planted_probabilities_in_their_context(told):
    _, data, truth = told
    logits = truth.event_logits(data.test, data.encoder)
    for task in range(2):
        assert_calibrated(sigmoid(logits[:, task]), data.test.labels[:, task])
    with pytest.raises(AssertionError):
        assert_calibrated(sigmoid(truth.pair_logits(data.test.users, data.test.items)[:, 0]), data.test.labels[:, 0])


def test_logits_of_events_are_those_of_the_first_position_and_what_their_context_adds(told):
    _, data, truth = told
    few = data.test.where(np.arange(len(data.test)) < 50)
    hours, positions = (data.encoder.vocabularies[f"context.{name}"][few.context[:, at] - 1].astype(int)
                        for at, name in enumerate(("hour", "position")))
    effect = [truth.context.position[position - 1] + truth.context.hour[hour, truth.ads.category[item]]
              for hour, position, item in zip(hours, positions, few.items, strict=True)]
    plain = truth.pair_logits(few.users, few.items)[:, 0]
    np.testing.assert_allclose(truth.event_logits(few, data.encoder)[:, 0], plain + effect, rtol=1e-5)


def test_no_probabilities_do_better_than_those_in_context(told):
    _, data, truth = told
    bayes = truth.bayes_ne(data.test, data.encoder)
    assert bayes["click"] < 0.9
    assert truth.bayes_ne(data.test)["click"] is None
    without = replace(data.encoder, spec=replace(data.spec, context_fields=data.spec.context_fields[:1]))
    assert truth.bayes_ne(replace(data.test, context=None), without)["click"] is None


def test_hours_are_those_of_the_timestamps_and_positions_fall(told):
    folder, data, _ = told
    events = pq.read_table(folder / "events.parquet")
    seconds = events["timestamp"].to_numpy()
    assert events["hour"].to_pylist() == hour_text(seconds // 3600 % HOURS).tolist()
    position, click = events["position"].to_numpy(zero_copy_only=False).astype(int), events["click"].to_numpy()
    assert set(position) == set(range(1, POSITIONS + 1))
    assert click[position == 1].mean() > 2 * click[position == POSITIONS].mean()
    assert data.spec.model_context[1].serve_as == "1"


def test_the_policy_pushes_ads_whatever_they_are_worth(told):
    _, data, truth = told
    pushed = Draws(SEED).normal("pushed ad", np.arange(ADS))
    position = data.train.context[:, 1]
    assert np.corrcoef(position, pushed[data.train.items])[0, 1] < -0.5
    logits = truth.pair_logits(data.train.users, data.train.items)[:, 0]
    assert -0.6 < np.corrcoef(position, logits)[0, 1] < -0.1
    assert abs(np.corrcoef(pushed, truth.ads.quality)[0, 1]) < 0.15


def test_users_and_ads_are_those_of_the_world_without_context(told, world):
    folder, without = told[0], world[0]
    for name in ("users.parquet", "ads.parquet"):
        assert pq.read_table(folder / name).equals(pq.read_table(without / name))
    assert not list((without / "truth").glob("context.*"))


def test_a_world_is_the_same_whatever_the_chunk(told, tmp_path):
    synthetic.write(tmp_path, ADS, USERS, EVENTS, SEED, 400, context=True)
    for name in ("events.parquet", "test_events.parquet"):
        assert pq.read_table(tmp_path / name).equals(pq.read_table(told[0] / name))
