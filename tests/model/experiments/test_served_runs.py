"""Settings and figures of runs that are exported; `test_table1` and `test_sizes` train some."""

import pytest

from model.config.monn import SIZES
from model.experiments.cells import Cell
from model.experiments.monn_runs import config_of
from model.experiments.served_runs import figures, mega, settings
from model.tree.k_means import default_branching

SMALL, LARGE = SIZES["small"], SIZES["large"]


def test_rows_have_the_default_tree_and_the_layer_above_scores_its_finest_nodes(log):
    rows = settings(log, False, {"alone": (LARGE, None), "stack": (SMALL, LARGE)})
    alone, stack = (config_of(Cell("any", slug, row, 3)) for slug, row in rows.items())
    assert (alone.model, alone.stack, alone.seed) == (LARGE, (), 3)
    assert alone.branching == stack.branching == default_branching(300)
    assert stack.model == SMALL
    assert [(layer.level, layer.model) for layer in stack.stack] == [(len(stack.branching), LARGE)]


def test_small_rows_keep_what_tells_sizes_apart_and_have_small_towers(log):
    rows = settings(log, True, {"alone": (LARGE, None), "stack": (SMALL, LARGE)})
    assert rows["alone"]["model"]["layers"] == LARGE.layers
    assert rows["alone"]["model"]["user_hidden"] == [16]
    assert rows["stack"]["stack"][0]["model"] == rows["alone"]["model"]


def result(ne, flops):
    served = {how: {"recall@20": 0.2, "recall@100": 0.4, "flops": flops, "ms": 2.0, "overlap@100": 0.9}
              for how in ("beam", "exhaustive")}
    return {"quality": {"ne": {"click": ne}, "recall@20": 0.1, "recall@100": 0.3}, "served": served}


def test_figures_are_means_over_seeds_and_changes_seed_by_seed():
    found = figures([result(0.9, 1e6), result(0.6, 3e6)], [result(1.0, 5e6), result(0.5, 5e6)])
    assert found["ne"].mean == pytest.approx(0.75)
    assert found["ne_change"].mean == pytest.approx(5.0)  # -10 % and +20 %
    assert (found["recall@20"].mean, found["beam_recall@20"].mean) == pytest.approx((0.1, 0.2))
    assert found["cost"].mean == found["beam_cost"].mean == pytest.approx(2.0)
    assert mega([{"flops": None}]) is None
