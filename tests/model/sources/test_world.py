"""The planted world: sizes, fatigue and the labels that follow from it."""

import numpy as np

from model.sources.world import RECENT_CLICKS, Shape, click_logits, rested_logits, sigmoid
from tests.model.data.logs import assert_calibrated
from tests.model.planted import USERS


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


def test_categories_grow_slowly_with_the_ads():
    assert [Shape.of(ads).categories for ads in (10, 1_000, 20_000, 1_000_000)] == [8, 40, 179, 1265]
