"""The synthetic world as its fields show it, beside the truth."""

import numpy as np
import pytest

from model.sources import synthetic
from model.sources.shown_world import as_shown
from model.sources.truth import TrueWorld
from model.sources.world import Shape


@pytest.mark.parametrize("ads", [3, 300])  # three ads have not all departments that users are interested in
def test_shown_tastes_are_true_ones_and_most_of_them(tmp_path, ads):
    synthetic.write(tmp_path, ads, 2_000, 4_000, seed=3)
    world = TrueWorld.open(tmp_path)
    shown = as_shown(tmp_path, world, tastes=True)
    for true, seen, share in ((world.users.interests, shown.users.interests, synthetic.INTEREST_SHOWN),
                              (world.users.brands, shown.users.brands, synthetic.BRAND_SHOWN)):
        assert (seen[:, :, None] == true[:, None, :]).any(axis=2)[seen >= 0].all()
        distinct = sum(len(set(row)) for row in true.tolist())  # a list names each once
        assert abs(np.count_nonzero(seen >= 0) / distinct - share) < 0.03
    known = shown.users.interests >= 0
    assert (shown.users.departments[~known] == -1).all()
    assert (shown.users.departments[known] == shown.users.interests[known] % Shape.of(ads).departments).all()


def test_only_quality_and_rating_are_uncertain_when_tastes_are_known(tmp_path):
    synthetic.write(tmp_path, 3_000, 20, 100, seed=3)
    world = TrueWorld.open(tmp_path)
    shown = as_shown(tmp_path, world, tastes=False)
    assert shown.users is world.users
    errors = shown.ads.quality - world.ads.quality
    least = synthetic.NOISE**2 / (1 + synthetic.NOISE**2)  # of any guess, for a normal quality of variance 1
    assert abs(errors.var() / least - 1) < 0.15
    assert abs(np.corrcoef(errors, shown.ads.quality)[0, 1]) < 0.06
