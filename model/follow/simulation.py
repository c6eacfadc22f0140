"""A follower in a world that moves: what it learns day by day, beside a model that stays and one trained anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import read_manifest
from model.data.load import load_dataset
from model.export.calibrate import calibrate, calibrations_of
from model.follow.follower import ModelFollower
from model.follow.growing_log import GrownLog
from model.follow.progress import calibration_errors, progressive
from model.follow.state import FollowerState
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import train


def simulate(follower: ModelFollower, state: FollowerState, first: Path) -> Iterator[dict[str, Any]]:
    """Lets a follower learn the days of a world that it has not learned yet.

    Args:
        follower: whose windows are those of the world.
        state: of the follower.
        first: the run that stays.

    Yields:
        For each day the report of the follower, and with it `stays`, what the first run predicts of the day; `anew`,
        what a run predicts of it that is trained as the first one was, on what the follower's log held before it;
        `overlap` of the new bundle's default beam with its exhaustive search, and the share of the ads' `pairs` that it
        scores; `largest_leaf`, relative to the mean; and on a log of impressions `ece` of the day by task, of the run
        that `follows` and of the one that `stays`, each by the calibration that was exported with it.
    """
    fitted = calibrate(Run.open(first))
    sealed = serving = None if fitted is None else calibrations_of(fitted)
    while (found := follower.windows.next(state.sequence, state.ended_at, Path(state.log))) is not None:
        grown = GrownLog.of(Path(state.log), found.window, state.most_events, follower.attribution_window)
        day, work, anew = (follower.folder / name for name in ("day", "predicted", "anew"))
        grown.write(day, grown.older, grown.new)
        _train_anew(first, Path(state.log), anew)
        stays, fresh = (progressive(run, day, work, follower.users) for run in (first, anew))
        ece = {name: calibration_errors(run, day, work, by) for name, run, by in (
            ("follows", Path(state.run), serving), ("stays", first, sealed)) if by is not None}
        for folder in (day, anew):
            shutil.rmtree(folder)
        learned = follower.step(state)
        assert learned is not None
        state, report = learned
        bundle = follower.bundles / report["bundle"]
        serving = Bundle.open(bundle, verify=False).content.calibrations
        yield {**report, "stays": stays, "anew": fresh, "ece": ece, **_tree(bundle)}


def _train_anew(first: Path, log: Path, folder: Path) -> None:
    """Trains a run with the settings of the first one on a log."""
    shutil.rmtree(folder, ignore_errors=True)
    train(log, load_dataset(log), RunFolder(first).config()[0], folder, resume=False)


def _tree(bundle: Path) -> dict[str, float]:
    """What the export measured of the tree and the default beam of a bundle."""
    manifest = read_manifest(bundle)
    evaluation = json.loads((bundle / layout.EVALUATION).read_bytes())
    beam = next(point for point in evaluation["beam_curve"]
                if tuple(point["beam_width"]) == manifest.search.beam_width)
    return {"overlap": beam["overlap"], "pairs": beam["pairs"] / manifest.counts["items"],
            "largest_leaf": evaluation["tree"][-1]["largest"]}
