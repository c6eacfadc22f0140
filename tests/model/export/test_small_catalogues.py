"""The whole line for catalogues smaller than any cut-off: train, evaluate, export, serve."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.search.ranking import best
from model.data.load import load_dataset
from model.evaluation.quality import quality
from model.evaluation.tree_quality import compare_trees
from model.export.seal import export
from model.sources import synthetic
from model.training.trainer import train
from model.tree.k_means import check_branching, default_branching
from service.__main__ import check
from tests.model.tiny_runs import TINY


@pytest.mark.parametrize("ads", [1, 2, 10, 40])
def test_a_small_catalogue_is_trained_evaluated_exported_and_served(tmp_path, ads):
    synthetic.write(tmp_path / "data", ads=ads, users=20, events=200, seed=0)
    dataset = load_dataset(tmp_path / "data")
    clicked = [len(np.unique(dataset.train.items[(dataset.train.users == user) & (dataset.train.labels[:, 0] == 1)]))
               for user in range(20)]
    assert (max(clicked) == ads) == (ads <= 2)  # with one or two ads somebody has clicked every one
    run = train(tmp_path / "data", dataset, replace(TINY, branching=()), tmp_path / "run", resume=False)
    found = quality(run, 0)
    assert json.dumps(found, allow_nan=False)
    assert json.dumps(compare_trees(run), allow_nan=False)
    export(run, tmp_path / "bundle", found)
    golden = Bundle.open(tmp_path / "bundle").golden
    assert {len(entry["ads"]) for entry in golden} == {min(ads, 20)}
    assert asyncio.run(check(tmp_path / "bundle")) == 0


@pytest.mark.parametrize("items", [1, 2, 10, 40])
def test_the_default_tree_fits_every_catalogue(items):
    check_branching(default_branching(items), items)


def test_the_best_of_no_items_are_none():
    assert best(np.array([0.5, -np.inf], np.float32), np.arange(2), 0).tolist() == []
