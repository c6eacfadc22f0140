"""Two towers behind a FAISS index: with all cells the exhaustive search, with fewer a part of it for less."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.evaluation.ebr import embedding_retrieval
from model.evaluation.recall import recall
from tests.model.tiny_runs import TINY, run_of, trained_run
from tests.model.worlds import positives


def questions(run):
    data, clicks = run.dataset, run.clicks
    run.model.eval()
    users = np.arange(len(data.user_ids))
    first = np.searchsorted(data.test.users, np.arange(len(users) + 1)).astype(np.int64)
    return (run.reader, clicks, run.key_index, users, Ragged(first, data.test.items), clicks.by_user, (4, 20))


def test_with_all_cells_it_finds_what_the_towers_find_and_with_fewer_it_costs_less(tmp_path):
    data = positives(users=80, items=640, clicks=6)
    run = trained_run(tmp_path, replace(TINY, model=replace(TINY.model, over_arch="dot"), epochs=2), data)
    rows = embedding_retrieval(*questions(run))
    exhaustive = {name: value for name, value in recall(*questions(run)).items() if name.startswith("recall")}
    assert {name: rows[-1][name] for name in exhaustive} == pytest.approx(exhaustive, abs=0.02)  # near ties
    assert rows[-1]["pairs"] == 640 + rows[-1]["probed"]
    for fewer, more in pairwise(rows):
        assert fewer["pairs"] < more["pairs"]
        assert fewer["recall@20"] <= more["recall@20"] + 0.05
        width = run.config.model.item_embedding + run.key_index.spectral.items.values.shape[1] + 1
        assert fewer["flops"] == fewer["pairs"] * 2 * width


def test_a_model_that_is_no_inner_product_is_refused(tmp_path):
    with pytest.raises(TypeError, match="the over-arch is Wukong, which ranks by more than an inner product"):
        embedding_retrieval(*questions(run_of(tmp_path)))
