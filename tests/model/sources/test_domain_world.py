"""Domains of the moving world: what they plant is in the log, its truth knows it, and without them nothing changes."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import synthetic_days
from model.sources.domain_world import DOMAIN, TrueDomains, domain_text
from model.sources.draws import Draws
from model.sources.truth import TrueWorld
from model.sources.world import Shape, draw_ads, draw_users, sigmoid
from tests.model.data.logs import assert_calibrated

ADS, USERS, EVENTS, SEED, DOMAINS = 300, 600, 60_000, 4, 3


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A world with domains: its folder, its log and its truth."""
    folder = tmp_path_factory.mktemp("domains")
    synthetic_days.write(folder, ADS, USERS, EVENTS, SEED, 1, 0.05, DOMAINS)
    return folder, load_dataset(folder), TrueWorld.open(folder)


def test_test_labels_follow_the_planted_probabilities_in_their_domain(told):
    _, data, truth = told
    logits = truth.event_logits(data.test, data.encoder)
    for task in range(2):
        assert_calibrated(sigmoid(logits[:, task]), data.test.labels[:, task])
    with pytest.raises(AssertionError):
        assert_calibrated(sigmoid(truth.pair_logits(data.test.users, data.test.items)[:, 0]), data.test.labels[:, 0])
    assert truth.bayes_ne(data.test, data.encoder)["click"] < 0.9


def test_a_log_that_does_not_tell_the_domain_has_no_probabilities(told):
    _, data, truth = told
    unknown = replace(data.test, context=np.zeros_like(data.test.context))
    assert truth.event_logits(unknown, data.encoder) is None
    assert truth.event_logits(data.test) is None


def test_most_impressions_of_a_user_are_in_one_domain_and_each_domain_has_some(told):
    _, data, _ = told
    domain = data.train.context[:, 0]
    counts = np.zeros((USERS, DOMAINS + 1), np.int64)
    np.add.at(counts, (data.train.users, domain), 1)
    assert counts.max(axis=1).sum() / len(domain) > 0.6
    assert np.bincount(domain)[0] == 0
    assert (np.bincount(domain)[1:] / len(domain) > 0.15).all()


def test_domains_are_a_column_of_all_events_and_of_the_declaration(told):
    folder, data, _ = told
    assert [field.name for field in data.spec.model_context] == [DOMAIN]
    assert data.encoder.vocabularies[f"context.{DOMAIN}"].tolist() == [b"d00", b"d01", b"d02"]
    assert set(pq.read_table(folder / "days" / "001" / "events.parquet")[DOMAIN].to_pylist()) == {"d00", "d01", "d02"}


def test_a_world_without_domains_shows_the_same_ads_at_the_same_times(told, tmp_path):
    synthetic_days.write(tmp_path, ADS, USERS, EVENTS, SEED, 1, 0.05)
    with_, without = (pq.read_table(folder / "events.parquet") for folder in (told[0], tmp_path))
    assert DOMAIN not in without.column_names
    first = np.arange(EVENTS // 10)  # a day: clicks, and with them what tires, differ
    for name in ("user_id", "ad_id", "timestamp"):
        assert with_[name].take(first).equals(without[name].take(first))


def test_domains_differ_in_what_is_clicked_and_not_only_in_how_much():
    shape, rows = Shape.of(200), np.arange(2_000)
    world = TrueDomains.of(Draws(1), 2, shape)
    users, ads = draw_users(Draws(1), rows, shape), draw_ads(Draws(1), rows % 200, shape)
    one, other = (world.effect(np.full(len(rows), at), users, ads) for at in range(2))
    assert np.std(one.click - other.click) > 0.5
    assert np.std(one.conversion - other.conversion) > 0.1
    plain = TrueDomains(np.zeros((2, 1), np.float32), np.zeros((1, 3, shape.categories), np.float32),
                        np.ones((1, 4), np.float32), np.ones((1, 4), np.float32))
    nothing = plain.effect(np.zeros(len(rows), np.int64), users, ads)
    assert not nothing.click.any()
    assert not nothing.conversion.any()


@pytest.mark.parametrize("domains", [1, -2, 65])
def test_numbers_of_domains_that_cannot_be_are_refused(tmp_path, domains):
    with pytest.raises(DataError, match=f"--domains is {domains}; give a number from 2 to 64"):
        synthetic_days.write(tmp_path, ADS, USERS, EVENTS, SEED, 1, 0.05, domains)


def test_domains_are_written_with_two_digits():
    assert domain_text(np.array([0, 12])).tolist() == ["d00", "d12"]
