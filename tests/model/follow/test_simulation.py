"""The days of a world as a follower learns them: beside the run that stays, with the figures of the export."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from index_store.bundle import layout
from model.follow.simulation import simulate
from model.follow.state import FollowerState
from model.follow.world_windows import WorldWindows
from model.sources import parquet
from tests.model.follow.logs import WEEK
from tests.resealed import reseal

MEASURED = {"beam_curve": [{"beam_width": [2, 4], "overlap": 0.5, "pairs": 30.0},
                           {"beam_width": [3, 6], "overlap": 0.9, "pairs": 60.0},
                           {"beam_width": [6, 9], "overlap": 1.0, "pairs": 90.0}],
            "tree": [{"largest": 1.5}, {"largest": 2.5}]}


@dataclass
class SameBundle:
    """A follower that learns nothing, and has the same bundle every day."""

    folder: Path
    bundles: Path
    windows: WorldWindows
    users: int = 0
    attribution_window: float = WEEK

    def step(self, state):
        return replace(state, sequence=state.sequence + 1), {"window": state.sequence + 1, "bundle": "measured"}


def test_a_day_is_told_beside_the_run_that_stays_and_with_the_default_beam(tiny_bundle, followed_run, tmp_path):
    reseal(tiny_bundle, tmp_path / "measured", lambda writer: writer.json(layout.EVALUATION, MEASURED))
    world = followed_run.parent / "data"
    parquet.write(world, tmp_path / "log")
    state = FollowerState(window=0, sequence=0, change_log_id="", ended_at=0.0, run=str(followed_run),
                          log=str(tmp_path / "log"), most_events=1_500)
    report, = simulate(SameBundle(tmp_path, tmp_path, WorldWindows(world)), state, followed_run)
    assert (report["window"], report["overlap"], report["pairs"], report["largest_leaf"]) == (1, 0.9, 0.2, 2.5)
    assert report["stays"]["test_events"] == 150
    assert 0 < report["stays"]["ne"]["click"] < 10
    assert report["ece"]["follows"] == report["ece"]["stays"]
    assert 0 < report["ece"]["stays"]["click"] < 0.5
    assert report["anew"]["ne"]["click"] == pytest.approx(report["stays"]["ne"]["click"], abs=0.2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "measured"]
