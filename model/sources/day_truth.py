"""The truth of a moving world, day by day: what the true logits read on the morning of a day, beside its events.

Only what moves is stored for a day: interests, brands and recent clicks of the users, the ads that were born, and the
rows of the active ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.tables import TRUTH
from model.data.windows import day_folder
from model.sources.moving_world import Move, MovingWorld
from model.sources.truth import TrueWorld
from model.sources.world import Ads

MOVES = ("interests", "departments", "brands", "recent")
ACTIVE = "active.npy"


def write_day(folder: Path, world: MovingWorld, move: Move) -> None:
    """Writes the truth of a day into its folder, before its impressions."""
    truth = folder / TRUTH
    truth.mkdir()
    for name in MOVES:
        np.save(truth / f"users.{name}.npy", getattr(world.people, name))
    for field in fields(Ads):
        np.save(truth / f"ads.{field.name}.npy", getattr(world.ads, field.name)[move.born])
    np.save(truth / ACTIVE, world.active)


@dataclass(frozen=True)
class DayTruth:
    """The truth on the morning of a day.

    Attributes:
        world: users, and all ads up to that day, ended ones too; the row of a user or ad is the number in its id.
        active: (N,) rows of the ads that are shown, ascending.
    """

    world: TrueWorld
    active: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path, day: int) -> DayTruth:
        """The truth of a day of the world in a data folder, from day 1.

        Raises:
            DataError: the folder holds no truth.
        """
        start = TrueWorld.open(folder)
        days = [day_folder(folder, number) / TRUTH for number in range(1, day + 1)]
        users = {name: np.load(days[-1] / f"users.{name}.npy") for name in MOVES}
        ads = {field.name: np.concatenate([getattr(start.ads, field.name),
                                           *(np.load(truth / f"ads.{field.name}.npy") for truth in days)])
               for field in fields(Ads)}
        world = replace(start, users=replace(start.users, **users), ads=Ads(**ads))
        return cls(world, np.load(days[-1] / ACTIVE))
