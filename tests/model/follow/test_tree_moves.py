"""How far a tree has moved: by the ids of the ads, whatever their rows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import nn

from model.config.errors import ConfigError
from model.follow.tree_moves import tree_moves
from model.runs.checkpoint import Progress, RunFolder
from tests.model.tiny_runs import TINY


def run_with(folder, codes):
    """A folder of a run over ads with these codes, by id; None for a run without a tree."""
    folder.mkdir()
    pq.write_table(pa.table({"ad_id": list(codes)[::-1]}), folder / "ads.parquet")
    run = RunFolder(folder)
    run.create(TINY, folder)
    paths = [codes[ad_id] for ad_id in sorted(codes)]
    run.save({"model": nn.Linear(1, 1)}, {}, None if None in paths else np.array(paths, np.int32), Progress())
    return folder


def test_shares_are_over_the_ads_of_both_trees(tmp_path):
    before = run_with(tmp_path / "before", {"a": [0, 0], "b": [0, 1], "c": [1, 0], "gone": [1, 1]})
    after = run_with(tmp_path / "after", {"a": [0, 0], "b": [0, 0], "0new": [0, 2], "c": [0, 0]})
    found = tree_moves(before, after)
    assert found == {"ads": 4, "new_ads": 0.25, "moved": pytest.approx(2 / 3),
                     "changed_prefixes": [pytest.approx(1 / 3), pytest.approx(2 / 3)]}


def test_a_run_without_a_tree_is_refused(tmp_path):
    run = run_with(tmp_path / "run", {"a": None})
    with pytest.raises(ConfigError, match="has no tree yet"):
        tree_moves(run, run)
