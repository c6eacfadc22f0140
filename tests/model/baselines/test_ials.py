"""iALS: planted groups, one seed one result, and the walk over its settings."""

import itertools
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse

from model.baselines.budget import SkippedError
from model.baselines.ials import ALPHAS, FACTORS, REGULARISATIONS, Ials, Settings, choose
from tests.model.baselines.blocks import planted, share_in_own_group

SETTINGS = Settings(8, 1.0, 16.0)


def test_it_finds_planted_groups():
    train, of_user, of_item = planted()
    assert share_in_own_group(Ials.fit(train, SETTINGS, 0), train, of_user, of_item) == 1


def test_a_seed_gives_one_result_without_a_warning():
    train, _, _ = planted()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = [Ials.fit(train, SETTINGS, seed) for seed in (0, 0, 1)]
    assert (fits[0].users == fits[1].users).all()
    assert not (fits[0].users == fits[2].users).all()
    assert fits[0].scores(np.array([3])).shape == (1, 60)


@pytest.mark.parametrize("goal", list(itertools.product(range(len(FACTORS)), (0, 2, len(ALPHAS) - 1))))
def test_the_walk_ends_at_the_top_of_a_hill(goal):
    def recall(settings):
        place = FACTORS.index(settings.factors), ALPHAS.index(settings.alpha)
        return -sum(abs(a - b) for a, b in zip(place, goal, strict=True)) - abs(
            REGULARISATIONS.index(settings.regularisation) - 1)

    settings, tried = choose(recall, lambda: True, 40)
    assert settings == Settings(FACTORS[goal[0]], REGULARISATIONS[1], ALPHAS[goal[1]])
    assert tried < len(FACTORS) * len(REGULARISATIONS) * len(ALPHAS) / 2


def test_the_walk_stops_when_time_or_the_number_of_settings_is_spent():
    asked = []
    settings, tried = choose(lambda settings: asked.append(settings) or 0.0, lambda: False, 9)
    assert (tried, asked) == (1, [settings])
    assert choose(lambda settings: settings.alpha, lambda: True, 3)[1] == 3


def test_a_machine_without_openmp_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)  # as if its libraries were missing
    with pytest.raises(SkippedError, match="install libgomp1"):
        Ials.fit(sparse.csr_array(np.eye(3, dtype=np.float32)), Settings(2, 1.0, 1.0), seed=0)
