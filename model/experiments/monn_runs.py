"""Cells that train a MoNN with its tree and measure both; tables 4 and 5 and `overlap` share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import load_dataset
from model.data.parquet_table import ParquetTable
from model.data.tables import ADS, ID_COLUMN, TEST_EVENTS, read_spec
from model.evaluation.quality import quality
from model.evaluation.tree_quality import at_pairs, tree_curves
from model.experiments.cells import Cell
from model.export.beam_tuning import TARGET_OVERLAP
from model.runs.checkpoint import RunFolder
from model.training.trainer import train
from model.tree.k_means import LEAF_ITEMS

KIND = "monn"
TEST_USERS, SMALL_TEST_USERS = 2000, 50
"""Test users to measure recall with."""


def check_log(data: Path) -> None:
    """Checks that a folder is a log with test events, as `python -m model data` writes it.

    Raises:
        ConfigError, DataError: it is not.
    """
    if not (data / "features.json").exists() and list(data.glob("*.npz")):
        raise ConfigError(f"{data} holds LightGCN's npz files, but this table trains MoNN on an ad log; bring them "
                          "into the table format with `python -m model data gowalla` first")
    read_spec(data)
    if not (data / TEST_EVENTS).exists():
        raise ConfigError(f"{data} has no {TEST_EVENTS}, which the table is measured on; hold events out when you make "
                          "the folder")


def settings(data: Path, small: bool, **more: Any) -> dict[str, Any]:
    """Changes of a cell to `TrainConfig`'s defaults, the same for all rows of a table except for `more`.

    The tree has two levels with about the same number of children: a first level as wide as the default's would be
    scored whole, and hide the differences between trees.
    """
    side = max(2, isqrt(number_of_ads(data) // LEAF_ITEMS))
    common: dict[str, Any] = {"branching": [side, side]}
    if read_spec(data).negatives == "impressions":
        common["forget_share"] = 0.9  # an ad has few impressions there, and its fields say most
    if small:
        common |= {"model": {"table_width": 8, "user_hidden": [16], "item_hidden": [16], "pair_hidden": [8], "dim": 4},
                   "batch_users": 128, "negatives": 24, "negative_pool": 200, "test_users": SMALL_TEST_USERS}
    return common | more


def number_of_ads(data: Path) -> int:
    """Rows of a log's table of ads.

    Raises:
        DataError: the table cannot be read.
    """
    return ParquetTable(data / ADS, [ID_COLUMN["item"]]).rows


def config_of(cell: Cell) -> TrainConfig:
    """The run's settings: the defaults with the changes of the cell."""
    changes = {name: value for name, value in cell.settings.items() if name != "test_users"}
    default = TrainConfig().to_json()
    for name in ("model", "hill"):
        changes[name] = default[name] | changes.get(name, {})
    return TrainConfig.from_json(default | changes | {"seed": cell.seed})


def run(cell: Cell, data: Path, work: Path, teacher: str = "") -> Mapping[str, Any]:
    """Trains a run, or continues one, and measures it.

    Args:
        cell: what to run.
        data: data folder.
        work: folder of the run.
        teacher: folder of the run that teaches it, if there is one.

    Returns:
        `quality` of the run (recall of the exhaustive search, NE), and for each tree over its model the curves of
        `tree_curves`: lists of (pairs, overlap@100).
    """
    dataset = load_dataset(data)
    config = replace(config_of(cell), teacher=teacher)
    trained = train(data, dataset, config, work, resume=RunFolder(work).has_checkpoint)
    trees = {name: {"nodes": list(curves.nodes), "scorer": [[p.pairs, p.overlap] for p in curves.scorer],
                    "oracle": [[p.pairs, p.overlap] for p in curves.oracle]}
             for name, curves in tree_curves(trained).items()}
    return {"items": len(dataset.items), "trees": trees,
            "quality": quality(trained, cell.settings.get("test_users", TEST_USERS))}


def entropy(result: Mapping[str, Any]) -> float | None:
    """NE of the first task on the test events, on a log of positives with sampled negatives; None if undefined."""
    measured = result["quality"]
    value: float | None = next(iter(measured.get("ne", measured.get("sampled_ne")).values()))
    return value


def overlap_at(result: Mapping[str, Any], tree: str, nodes: str, share: float) -> float | None:
    """Overlap@100 of a tree where a beam scores a share of the items' pairs.

    Args:
        result: of a cell.
        tree: its name.
        nodes: what scores them, `scorer` or `oracle`.
        share: of the items.
    """
    return at_pairs(result["trees"][tree][nodes], share * result["items"])


def percent_for(result: Mapping[str, Any], tree: str, nodes: str) -> float | None:
    """Pairs that a beam needs for TARGET_OVERLAP, as a percentage of the items; None where no beam reaches it.

    Arguments as above.
    """
    pairs, overlaps = zip(*result["trees"][tree][nodes], strict=True)
    if overlaps[-1] < TARGET_OVERLAP:
        return None
    return 100 * float(np.interp(TARGET_OVERLAP, overlaps, pairs)) / int(result["items"])
