"""Kept results: found again for the same data, for no other, and no reason to fail."""

from dataclasses import replace

import numpy as np
import pytest

from model.baselines.cache import Cache, data_hash
from tests.model.worlds import positives

DATA = positives()
USERS = np.arange(5)
ROW = {"recall@20": 0.25, "seconds": 1.0}


def hash_of(data=DATA, users=USERS):
    return data_hash(data, data.train, data.test, users)


def changed(events, **columns):
    return replace(events, **{name: np.array(value) for name, value in columns.items()})


def test_the_same_data_have_the_same_hash():
    assert hash_of() == hash_of(positives())
    assert hash_of() == hash_of(users=USERS.astype(np.int32))


@pytest.mark.parametrize("other", [
    positives(seed=1),
    replace(DATA, train=changed(DATA.train, labels=1 - DATA.train.labels)),
    replace(DATA, test=DATA.test.where(np.arange(len(DATA.test)) > 0)),
    replace(DATA, items=replace(DATA.items, categorical=DATA.items.categorical[::-1])),
    replace(DATA, spec=replace(DATA.spec, history_ordered=True))], ids=["log", "labels", "test", "fields", "spec"])
def test_other_data_have_another_hash(other):
    assert hash_of(other) != hash_of()


def test_other_users_have_another_hash():
    assert hash_of(users=USERS[:4]) != hash_of()


def test_a_row_is_found_under_its_own_hash_and_name(tmp_path):
    cache = Cache(tmp_path / "baselines.json")
    assert cache.get("a", "EASE") is None
    cache.put("a", "EASE", ROW)
    cache.put("b", "iALS", {"recall@20": 0.5})
    again = Cache(tmp_path / "baselines.json")
    assert again.get("a", "EASE") == ROW
    assert again.get("a", "iALS") is None
    assert again.get("c", "EASE") is None


def test_a_damaged_file_is_replaced_and_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    path = tmp_path / "baselines.json"
    path.write_text("{")
    Cache(path).put("a", "EASE", ROW)
    assert Cache(path).get("a", "EASE") == ROW
    Cache(tmp_path / "nowhere" / "baselines.json").put("a", "EASE", ROW)
    assert "the baselines are not kept for the next time" in capsys.readouterr().err
