"""The synthetic world as its fields show it: what a model could score that has learned every effect exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.tables import ADS, USERS
from model.sources.synthetic import NOISE
from model.sources.truth import TrueWorld
from model.sources.world import SLOTS


def as_shown(folder: Path, world: TrueWorld, *, tastes: bool) -> TrueWorld:
    """The world with what users.parquet and ads.parquet show in the place of what is true.

    An ad's quality and rating are what their noisy fields let one expect. What a user clicked last is known from the
    log. Age group, gender, region and device stay as they are, although a gender is missing now and then; the user's
    activity too, since it ranks no ads.

    Args:
        folder: of the data.
        world: the truth of it.
        tastes: whether interests and loyal brands are those that the fields show, or all that there are, as one could
            infer from what a user was shown and clicked.
    """
    ads = pq.read_table(folder / ADS, columns=["quality", "rating"])
    quality, rating = (ads[name].to_numpy() / np.float32(1 + NOISE**2) for name in ("quality", "rating"))
    users = world.users
    if tastes:
        shown = pq.read_table(folder / USERS, columns=["interests", "favourite_brands"])
        interests, brands = (_codes(shown[name]) for name in ("interests", "favourite_brands"))
        department = np.zeros(int(users.interests.max()) + 1, users.departments.dtype)
        department[users.interests] = users.departments
        users = replace(users, interests=interests, brands=brands,
                        departments=np.where(interests < 0, -1, department[interests]))
    return replace(world, users=users, ads=replace(world.ads, quality=quality, rating=rating))


def _codes(lists: pa.ChunkedArray) -> NDArray[np.int32]:
    """(N, SLOTS) numbers of codes such as `c17`, -1 where fewer are shown."""
    rows = pc.list_parent_indices(lists).to_numpy()
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    codes = np.full((len(lists), SLOTS), -1, np.int32)
    codes[rows, places] = pc.cast(pc.utf8_slice_codeunits(pc.list_flatten(lists), 1), pa.int32()).to_numpy()
    return codes
