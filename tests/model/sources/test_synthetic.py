"""The synthetic log: the same for a seed, of the size that was asked for, and with fields that show the truth."""

from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import DataError
from model.progress.ranges import ranges_of
from model.sources import synthetic
from tests.model.planted import ADS, EVENTS, SEED, USERS


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def same(one, other):
    if one.suffix == ".npy":
        return np.array_equal(np.load(one), np.load(other))
    if one.suffix == ".json":
        return one.read_text() == other.read_text()
    return pq.read_table(one).equals(pq.read_table(other))


@pytest.mark.parametrize("chunk_users", [1_500, 400, 37])
def test_a_world_is_the_same_for_a_seed_whatever_the_chunk(world, tmp_path, monkeypatch, chunk_users):
    monkeypatch.setattr(synthetic, "ranges_of", lambda ads: ranges_of(ads, 7 + chunk_users))
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


def digest(folder):
    """Hash of the values of all files of a data folder, whatever the version of Parquet that wrote them."""
    found = sha256()
    for name, path in files(folder).items():
        found.update(name.encode())
        if path.suffix == ".npy":
            found.update(np.load(path).tobytes())
        elif path.suffix == ".json":
            found.update(path.read_bytes())
        else:
            found.update(repr(pq.read_table(path).to_pydict()).encode())
    return found.hexdigest()[:16]


def test_the_default_world_stays_what_it_is_to_the_bit(world):
    assert digest(world[0]) == "5ed76ce957a8a22d"


def test_the_parameters_are_frozen(world):
    data = world[1]
    assert data.train.items[:5].tolist() == [507, 313, 422, 371, 293]
    assert data.train.labels.sum(axis=0).tolist() == [4436, 688]
    assert data.test.labels.sum(axis=0).tolist() == [418, 58]


@pytest.mark.parametrize("sizes", [(1, 1, 12), (3, 5, 40), (50, 200, 90)])
def test_a_world_of_a_handful_of_events_can_be_read(tmp_path, sizes):
    synthetic.write(tmp_path, *sizes, seed=1)
    data = load_dataset(tmp_path)
    assert len(data.train) + (len(data.test) if data.test else 0) == sizes[2]


def test_sizes_are_refused_when_they_are_not_positive(tmp_path):
    with pytest.raises(DataError, match="--users is 0"):
        synthetic.write(tmp_path, 10, 0, 10, 0)
