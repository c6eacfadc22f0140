"""Trees over one model: read off curves, and three of them compared."""

import json
import shutil

import pytest

from model.config.errors import ConfigError
from model.evaluation.tree_quality import at_pairs, compare_trees
from tests.model.tiny_runs import run_of


@pytest.mark.parametrize(("pairs", "overlap"), [(5, None), (10, 0.2), (15, 0.4), (20, 0.6), (50, 0.9), (99, 0.9)])
def test_a_curve_is_read_on_straight_lines_between_its_points(pairs, overlap):
    found = at_pairs([(10, 0.2), (20, 0.6), (40, 0.9)], pairs)
    assert found == (overlap if overlap is None else pytest.approx(overlap))


def test_three_trees_are_compared(tiny_run):
    found = compare_trees(tiny_run)
    assert set(found) == {"em", "k-means on score profiles", "k-means on item embeddings"}
    for tree in found.values():
        assert tree["nodes"][0] <= 4
        assert tree["nodes"] == sorted(tree["nodes"])
        assert set(tree["scorer"]) == set(tree["oracle"]) == {"1%", "2%", "5%"}
    assert json.dumps(found, allow_nan=False)


def test_the_ranges_of_an_interrupted_training_are_left_alone(tiny_run):
    kept = tiny_run.folder.path / "ranges" / "scores" / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("half of a tree")
    before = sorted(tiny_run.folder.path.iterdir())
    try:
        compare_trees(tiny_run)
        assert kept.read_text() == "half of a tree"
        assert sorted(tiny_run.folder.path.iterdir()) == before
    finally:
        shutil.rmtree(tiny_run.folder.path / "ranges")


def test_a_run_without_a_tree_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no tree yet"):
        compare_trees(run_of(tmp_path))
