"""Vectors of a two-tower bundle."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from loadtest.rivals.queries import encoded
from loadtest.rivals.two_tower import TwoTower
from model.data.tables import DataError
from model.export.seal import export
from tests.loadtest.small_bench import ADS
from tests.model.tiny_runs import TINY, trained_run


def test_inner_products_differ_from_the_two_towers_scores_by_a_constant_alone(opened, towers, tolerance=1e-4):
    own, tree = towers.retriever.bundle.content.tree, opened.content.tree
    for row in (0, 7, 23):
        user = encoded(opened, row)
        scores = towers.retriever.scorer.score(towers.retriever.query(user), own.depth, np.arange(ADS))[:, 0]
        products = towers.vectors @ towers.query(user)
        gap = scores[own.position_of_row] - products[tree.position_of_row]
        assert np.ptp(gap) < tolerance < np.ptp(products)


def test_a_trained_dot_product_is_one_inner_product_with_its_spectral_part(tmp_path):
    run = trained_run(tmp_path / "run", replace(TINY, model=replace(TINY.model, over_arch="dot"), epochs=3))
    export(run, tmp_path / "bundle", {})
    trained = Bundle.open(tmp_path / "bundle")
    towers = TwoTower.of(trained, trained)  # which compares the scores with the inner products
    spectral = towers.retriever.scorer.spectral[-1]
    assert np.abs(towers.linear).max() > 0.01
    assert towers.vectors.shape[1] == trained.manifest.levels[-1].width + spectral.values.shape[1] + 1


def test_a_bundle_is_refused_as_two_towers_when_its_score_is_no_inner_product(opened):
    with pytest.raises(DataError, match="trained with --over-arch dot"):
        TwoTower.of(opened, opened)


def test_a_stack_is_refused_as_two_towers_for_being_one(opened, stacked_bundle):
    with pytest.raises(DataError, match=r"is a stack of 2 scorers.* without --stack"):
        TwoTower.of(Bundle.open(stacked_bundle), opened)
