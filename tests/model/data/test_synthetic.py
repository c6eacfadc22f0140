import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data import synthetic
from model.data.load import load_dataset
from model.data.synthetic_report import rank_overlap, variance_shares
from model.data.tables import DataError
from model.data.truth import TrueWorld, normalised_entropy
from model.data.world import RECENT_CLICKS, Shape, click_logits, rested_logits, sigmoid

ADS, USERS, EVENTS, SEED = 600, 1_500, 60_000, 11


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    synthetic.write(folder, ADS, USERS, EVENTS, SEED)
    return folder, load_dataset(folder), TrueWorld.open(folder)


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def same(one, other):
    if one.suffix == ".npy":
        return np.array_equal(np.load(one), np.load(other))
    if one.suffix == ".json":
        return one.read_text() == other.read_text()
    return pq.read_table(one).equals(pq.read_table(other))


@pytest.mark.parametrize("chunk_users", [1_500, 400, 37])
def test_a_world_is_the_same_for_a_seed_whatever_the_chunk(world, tmp_path, chunk_users):
    synthetic.write(tmp_path, ADS, USERS, EVENTS, SEED, chunk_users)
    one, other = files(world[0]), files(tmp_path)
    assert list(one) == list(other)
    assert [name for name in one if not same(one[name], other[name])] == []


def test_another_seed_gives_another_world(world, tmp_path):
    synthetic.write(tmp_path, ADS, USERS, EVENTS, SEED + 1)
    one, other = files(world[0]), files(tmp_path)
    assert [name for name in one if same(one[name], other[name])] == ["features.json"]


def test_the_world_has_the_size_that_was_asked_for(world):
    _, data, truth = world
    assert len(data.encoder.item_ids) == len(truth.ads.price) == ADS
    assert len(data.user_ids) == len(truth.users.age) == USERS
    assert len(data.train) + len(data.test) == EVENTS
    assert len(data.test) == pytest.approx(EVENTS / 10, rel=0.05)


def test_test_events_are_the_last_of_each_user_and_times_rise(world):
    _, data, _ = world
    last_train = np.full(USERS, -1)
    np.maximum.at(last_train, data.train.users, data.train.timestamps)
    assert (data.test.timestamps > last_train[data.test.users]).all()
    for events in (data.train, data.test):
        same_user = np.diff(events.users) == 0
        assert (np.diff(events.timestamps)[same_user] > 0).all()


def test_conversions_need_a_click(world):
    for events in world[1].train, world[1].test:
        click, conversion = events.labels.T
        assert (conversion <= click).all()
        assert 0 < conversion.sum() < click.sum() < len(events)


def assert_calibrated(probabilities, labels):
    """Counts of labels within 4.5 standard deviations of the planted expectation, in ten bins of equal size."""
    for part in np.array_split(np.argsort(probabilities), 10):
        p = probabilities[part]
        assert abs(labels[part].sum() - p.sum()) < 4.5 * np.sqrt((p * (1 - p)).sum()) + 1


def test_test_labels_follow_the_planted_probabilities(world):
    _, data, truth = world
    probabilities = sigmoid(truth.pair_logits(data.test.users, data.test.items))
    for task in range(2):
        assert_calibrated(probabilities[:, task], data.test.labels[:, task])


def test_train_clicks_follow_the_planted_probabilities_under_fatigue(world):
    _, data, truth = world
    train = data.train
    users, ads = truth.users.take(train.users), truth.ads.take(train.items)
    rested, given_click = rested_logits(users, ads)
    recent = np.full((USERS, RECENT_CLICKS), -1, np.int32)
    before = np.empty((len(train), RECENT_CLICKS), np.int32)
    for at, (user, category) in enumerate(zip(train.users, ads.category, strict=True)):  # plainly, one event at a time
        before[at] = recent[user]
        if train.labels[at, 0]:
            recent[user] = [category, *recent[user, :-1]]
    assert np.array_equal(recent, truth.users.recent)
    click = sigmoid(click_logits(rested, before, ads.category))
    assert_calibrated(click, train.labels[:, 0])
    clicked = train.labels[:, 0] == 1
    assert_calibrated(sigmoid(given_click)[clicked], train.labels[clicked, 1])


def test_bayes_ne_is_below_one_and_no_other_probabilities_do_better(world):
    _, data, truth = world
    bayes = truth.bayes_ne(data.test)
    logits = truth.pair_logits(data.test.users, data.test.items)
    for task, name in enumerate(("click", "conversion")):
        labels = data.test.labels[:, task]
        assert bayes[name] == pytest.approx(normalised_entropy(sigmoid(logits[:, task]), labels))
        assert bayes[name] < 0.9
        for wrong in (logits[:, task] * 0.5, logits[:, task] + 0.7, np.full(len(labels), logits[:, task].mean())):
            assert normalised_entropy(sigmoid(wrong), labels) > bayes[name]


def test_normalised_entropy_of_the_mean_rate_is_one():
    labels = np.array([0, 0, 0, 1])
    assert normalised_entropy(np.full(4, 0.25), labels) == pytest.approx(1.0)
    assert np.isnan(normalised_entropy(np.full(2, 0.5), np.zeros(2, int)))


def test_top_k_equals_a_plain_sort_with_ties_by_row(world):
    truth = world[2]
    copies = truth.ads.take(np.repeat(np.arange(ADS), 2))  # every ad twice: half of all neighbours in rank are ties
    twice = dataclasses.replace(truth, ads=copies)
    for user in (0, 7, USERS - 1):
        logits = twice.logits(np.array([user]), None)[0, :, 0]
        plain = sorted(range(2 * ADS), key=lambda row: (-logits[row], row))
        assert twice.top_k(user, 25).tolist() == plain[:25]


def test_logits_of_all_pairs_are_those_of_single_pairs(world):
    truth = world[2]
    users, items = np.array([3, 900, 4]), np.array([5, 17])
    logits = truth.logits(users, items)
    assert logits.shape == (3, 2, 2)
    pairs = truth.pair_logits(np.repeat(users, 2), np.tile(items, 3)).reshape(3, 2, 2)
    assert np.array_equal(logits, pairs)
    assert np.array_equal(truth.logits(users, None)[:, items], logits)
    click, conversion = np.moveaxis(sigmoid(logits), -1, 0)
    given_click = sigmoid(rested_logits(truth.users.take(users).column(), truth.ads.take(items))[1])
    assert conversion == pytest.approx(click * given_click, rel=1e-5)


def test_the_fields_show_what_the_logits_read(world):
    folder, _, truth = world
    ads = pq.read_table(folder / "ads.parquet").to_pylist()
    for row in (0, 99, ADS - 1):
        assert ads[row]["category"] == f"c{truth.ads.category[row]}"
        assert ("sale" in ads[row]["tags"]) == truth.ads.sale[row]
    quality = np.array([ad["quality"] for ad in ads])
    assert 0.9 < np.corrcoef(quality, truth.ads.quality)[0, 1] < 1.0
    users = pq.read_table(folder / "users.parquet").to_pylist()
    shown = [len(user["interests"]) for user in users]
    for row, user in enumerate(users):
        assert set(user["interests"]) <= {f"c{c}" for c in truth.users.interests[row]}
    assert 2.3 < np.mean(shown) < 3.0


def test_categories_grow_slowly_with_the_ads():
    assert [Shape.of(ads).categories for ads in (10, 1_000, 20_000, 1_000_000)] == [8, 40, 179, 1265]


def test_the_parameters_are_frozen(world):
    data = world[1]
    assert data.train.items[:5].tolist() == [507, 313, 422, 371, 293]
    assert data.train.labels.sum(axis=0).tolist() == [4436, 688]
    assert data.test.labels.sum(axis=0).tolist() == [418, 58]


def test_most_of_the_click_logit_is_crossing(world):
    truth = world[2]
    shares = variance_shares(truth.logits(np.arange(400), None)[..., 0])
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert shares["crossing"] > 0.5


def test_variance_and_overlap_are_right_when_the_logits_are_known():
    rng = np.random.default_rng(0)
    user, ad = rng.normal(size=(300, 1)), 2 * rng.normal(size=(1, 400))
    left, right = rng.normal(size=(300, 3)), rng.normal(size=(3, 400))
    additive = variance_shares((user + ad).astype(np.float32))
    assert additive["crossing"] < 1e-6
    assert additive["ad"] > additive["user"]
    low_rank = (user + ad + left @ right).astype(np.float32)
    assert rank_overlap(low_rank, 3, 20) > 0.99
    assert rank_overlap(low_rank, 1, 20) < 0.8


@pytest.mark.parametrize("sizes", [(1, 1, 12), (3, 5, 40), (50, 200, 90)])
def test_a_world_of_a_handful_of_events_can_be_read(tmp_path, sizes):
    synthetic.write(tmp_path, *sizes, seed=1)
    data = load_dataset(tmp_path)
    assert len(data.train) + (len(data.test) if data.test else 0) == sizes[2]


def test_sizes_are_refused_when_they_are_not_positive(tmp_path):
    with pytest.raises(DataError, match="--users is 0"):
        synthetic.write(tmp_path, 10, 0, 10, 0)


def test_truth_is_refused_when_the_data_is_not_synthetic(tmp_path):
    with pytest.raises(DataError, match="is known of data from"):
        TrueWorld.open(tmp_path)
