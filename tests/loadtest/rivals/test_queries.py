"""Users that a bench draws."""

import numpy as np

from index_store.bundle.bundle import Bundle
from loadtest.rivals.queries import draw_queries
from model.data.load import load_dataset


def drawn_from(grown, tuned_on):
    opened = Bundle.open(grown / "300_ads/bundle")
    dataset = load_dataset(grown / "300_ads/data")
    return draw_queries(dataset, opened, 0, 0, np.array(tuned_on, np.int64)), dataset


def test_users_that_the_beam_was_tuned_on_are_drawn_only_when_there_are_no_others(grown):
    everyone, dataset = drawn_from(grown, [])
    assert everyone.fresh
    row = int(everyone.users[0])
    clicked = dataset.test.items[(dataset.test.users == row) & (dataset.test.labels[:, 0] == 1)]
    assert np.array_equal(everyone.targets.row(0), clicked)
    others, _ = drawn_from(grown, everyone.users[1:])
    assert (others.users.tolist(), others.fresh) == ([row], True)
    nobody_else, _ = drawn_from(grown, everyone.users)
    assert not nobody_else.fresh
    assert np.array_equal(nobody_else.users, everyone.users)
