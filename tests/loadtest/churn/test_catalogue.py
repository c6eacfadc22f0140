"""The catalogue that acknowledged writes make."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from loadtest.churn.catalogue import KINDS, Catalogue


@pytest.fixture(scope="module")
def content(tiny_bundle):
    return Bundle.open(tiny_bundle).content


def test_ad_is_hidden_from_the_change_that_hides_it_to_the_one_that_shows_it_again(content):
    catalogue = Catalogue(content, np.random.default_rng(0))
    made = [(number, catalogue.draw(kind)) for number, kind in enumerate(["pause", "retarget", "add"] * 100, start=1)]
    for number, change in made:
        catalogue.acknowledged(change, number)
    for number, change in made:
        assert catalogue.hidden(change.line["ad_id"], number) is not change.shown
    first_of = {change.line["ad_id"]: number for number, change in reversed(made)}
    assert not any(catalogue.hidden(ad, number - 1) for ad, number in first_of.items())
    assert not catalogue.hidden("unknown", 300)


def test_deleted_ad_is_never_drawn_again(content):
    catalogue = Catalogue(content, np.random.default_rng(0))
    deleted = [catalogue.draw("delete").line["ad_id"] for _ in range(content.tree.n_items // 2)]
    assert len(set(deleted)) == len(deleted)
    others = [catalogue.draw(kind).line["ad_id"] for kind in [*KINDS] * 20 if kind != "delete"]
    assert not set(others) & set(deleted)


def test_paths_are_those_of_ads_and_events(content):
    catalogue = Catalogue(content, np.random.default_rng(0))
    assert {kind: catalogue.draw(kind).path for kind in KINDS} == {
        "pause": "/ads:batch", "retarget": "/ads:batch", "add": "/ads:batch", "delete": "/ads:batch",
        "click": "/events"}
