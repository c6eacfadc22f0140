"""A follower in a world that moves: what it learns day by day, beside the model that stays as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from index_store.bundle import layout
from index_store.bundle.manifest import read_manifest
from model.follow.follower import ModelFollower
from model.follow.growing_log import GrownLog
from model.follow.progress import progressive
from model.follow.state import FollowerState


def simulate(follower: ModelFollower, state: FollowerState, first: Path) -> Iterator[dict[str, Any]]:
    """Lets a follower learn the days of a world that it has not learned yet.

    Args:
        follower: whose windows are those of the world.
        state: of the follower.
        first: the run that stays.

    Yields:
        For each day the report of the follower, and with it `stays`, what the first run predicts of the day; `overlap`
        of the new bundle's default beam with its exhaustive search, and the share of the ads' `pairs` that it scores;
        and `largest_leaf`, relative to the mean.
    """
    while (found := follower.windows.next(state.sequence, state.ended_at, Path(state.log))) is not None:
        grown = GrownLog.of(Path(state.log), found.window, state.most_events)
        day, work = follower.folder / "day", follower.folder / "stays"
        grown.write(day, grown.older, grown.new)
        stays = progressive(first, day, work, follower.users)
        shutil.rmtree(day)
        learned = follower.step(state)
        assert learned is not None
        state, report = learned
        yield {**report, "stays": stays, **_tree(follower.bundles / report["bundle"])}


def _tree(bundle: Path) -> dict[str, float]:
    """What the export measured of the tree and the default beam of a bundle."""
    manifest = read_manifest(bundle)
    evaluation = json.loads((bundle / layout.EVALUATION).read_bytes())
    beam = next(point for point in evaluation["beam_curve"]
                if tuple(point["beam_width"]) == manifest.search.beam_width)
    return {"overlap": beam["overlap"], "pairs": beam["pairs"] / manifest.counts["items"],
            "largest_leaf": evaluation["tree"][-1]["largest"]}
