"""Ground truth of a synthetic log: exact probabilities for any user and ad, the Bayes NE, and each user's best ads.

All of it refers to the moment after the last train event, as does everything that a server can know. Rows are those of
`load_dataset`, since synthetic ids sort by number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from index_store.features.encoder import FeatureEncoder
from model.data.load import Events
from model.data.tables import TRUTH, DataError
from model.sources.context_world import TrueContext
from model.sources.domain_world import Effect, TrueDomains
from model.sources.world import Ads, Users, click_logits, rested_logits, sigmoid

TASKS = ("click", "conversion")

LOOKED_AT = "looked_at.npy"

_Planted = TypeVar("_Planted", TrueContext, TrueDomains)

_PAIRS = 1 << 22
"""Pairs whose logits are computed at a time."""


class TruthWriter:
    """Writes the inputs of the true logits, user rows in chunks.

    Args:
        folder: of the data.
        ads: all of them.
        users: how many.
        looked_at: share of the impressions that are looked at.
        context: what context does; None where the log has none.
        domains: what domains do; None where the log has none.
    """

    def __init__(self, folder: Path, ads: Ads, users: int, looked_at: float = 1.0,
                 context: TrueContext | None = None, domains: TrueDomains | None = None) -> None:
        self._folder = folder / TRUTH
        self._folder.mkdir()
        self._users = users
        self._arrays: dict[str, NDArray[np.generic]] = {}
        for field in fields(ads):
            np.save(self._folder / f"ads.{field.name}.npy", getattr(ads, field.name))
        if looked_at < 1:
            np.save(self._folder / LOOKED_AT, looked_at)
        for name, effects in (("context", context), ("domains", domains)):
            for field in () if effects is None else fields(effects):
                np.save(self._folder / f"{name}.{field.name}.npy", getattr(effects, field.name))

    def write(self, start: int, users: Users) -> None:
        """Writes users to the rows from `start` on."""
        for field in fields(users):
            part = getattr(users, field.name)
            if field.name not in self._arrays:
                self._arrays[field.name] = open_memmap(self._folder / f"users.{field.name}.npy", "w+", part.dtype,
                                                       (self._users, *part.shape[1:]))
            self._arrays[field.name][start : start + len(part)] = part


@dataclass(frozen=True)
class TrueWorld:
    """The planted world of one data folder, memory-mapped.

    Attributes:
        looked_at: share of the impressions that are looked at; only these can be clicked. The probabilities are those
            of an impression at an unknown position.
        context: what context does; None where the log has none. Otherwise the logits are those of the first position,
            at an average hour, unless those of events are asked for.
        domains: what domains do; None where the log has none. Otherwise the logits are those of a domain with rates and
            tastes of 0 and weights of 1, unless those of events are asked for.
    """

    users: Users
    ads: Ads
    looked_at: float = 1.0
    context: TrueContext | None = None
    domains: TrueDomains | None = None

    @classmethod
    def open(cls, folder: Path) -> TrueWorld:
        """Opens `folder/truth`.

        Raises:
            DataError: the folder holds no truth.
        """
        if not (folder / TRUTH).is_dir():
            raise DataError(f"{folder / TRUTH} does not exist; only data from `python -m model data "
                            "synthetic` has a truth")
        users, ads = ({f.name: np.load(folder / TRUTH / f"{side}.{f.name}.npy", mmap_mode="r") for f in fields(rows)}
                      for side, rows in (("users", Users), ("ads", Ads)))
        seen = folder / TRUTH / LOOKED_AT
        return cls(Users(**users), Ads(**ads), float(np.load(seen)) if seen.exists() else 1.0,
                   _planted(folder, "context", TrueContext), _planted(folder, "domains", TrueDomains))

    def logits(self, user_rows: NDArray[np.integer], item_rows: NDArray[np.integer] | None) -> NDArray[np.float32]:
        """Logits of every user with every item.

        Args:
            user_rows: (U,).
            item_rows: (I,), or None for all items in row order.

        Returns:
            (U, I, T) float32, tasks in the order of TASKS: click, and conversion as a label of the impression.
        """
        users: Users = self.users.take(user_rows)
        ads: Ads = self.ads.take(slice(None) if item_rows is None else item_rows)
        return _task_logits(users.column(), ads, self.looked_at)

    def pair_logits(self, user_rows: NDArray[np.integer], item_rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Logits of aligned pairs, (N,), (N,) -> (N, T) float32."""
        return _task_logits(self.users.take(user_rows), self.ads.take(item_rows), self.looked_at)

    def event_logits(self, events: Events, encoder: FeatureEncoder | None = None) -> NDArray[np.float32] | None:
        """Logits (N, T) of test impressions, each in its context; None if the log does not tell all of the context.

        Args:
            events: of a log of this world.
            encoder: of the log, which a world with context needs.
        """
        effect: NDArray[np.float32] | None = np.zeros(len(events), np.float32)
        if self.context is not None:
            category = np.asarray(self.ads.category[events.items])
            effect = None if encoder is None else self.context.effect_of(events, encoder, category)
        domain: NDArray[np.int64] | None = None
        if self.domains is not None:
            domain = None if encoder is None else self.domains.of_events(events, encoder)
            effect = None if domain is None else effect
        if effect is None:
            return None
        found = []
        for at in range(0, len(events), _PAIRS):
            part = slice(at, at + _PAIRS)
            users, ads = self.users.take(events.users[part]), self.ads.take(events.items[part])
            added = Effect(effect[part], np.zeros_like(effect[part]))
            if self.domains is not None and domain is not None:
                own = self.domains.effect(domain[part], users, ads)
                added = Effect(added.click + own.click, own.conversion)
            found.append(_task_logits(users, ads, self.looked_at, added))
        return np.concatenate(found)

    def bayes_ne(self, events: Events, encoder: FeatureEncoder | None = None) -> dict[str, float | None]:
        """Normalized entropy of the true probabilities on test impressions, by task: no model can expect less.

        None for a task whose labels are all the same, and where `event_logits` is None.
        """
        logits = self.event_logits(events, encoder)
        if logits is None:
            return dict.fromkeys(TASKS)
        found = {task: normalised_entropy(sigmoid(logits[:, t]), events.labels[:, t]) for t, task in enumerate(TASKS)}
        return {task: value if math.isfinite(value) else None for task, value in found.items()}

    def top_k(self, user_row: int, k: int) -> NDArray[np.int64]:
        """The k items (k,) with the highest click logit, best first, ties by row."""
        logits = self.logits(np.array([user_row]), None)[0, :, 0]
        order: NDArray[np.int64] = np.argsort(-logits, kind="stable")[:k]
        return order


def _planted(folder: Path, name: str, kind: type[_Planted]) -> _Planted | None:
    """What a context does in the world of a folder, None where there is no such context."""
    names = [field.name for field in fields(kind)]
    if not (folder / TRUTH / f"{name}.{names[0]}.npy").exists():
        return None
    return kind(**{each: np.load(folder / TRUTH / f"{name}.{each}.npy") for each in names})


def normalised_entropy(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """NE (Equation 9): mean log loss over the entropy of the labels' mean; NaN if all labels are the same."""
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    rate = float(labels.mean())
    if rate in (0.0, 1.0):
        return float("nan")
    loss = -np.where(labels == 1, np.log(p), np.log1p(-p)).mean()
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def _task_logits(users: Users, ads: Ads, looked_at: float,
                 effect: Effect | None = None) -> NDArray[np.float32]:
    """(..., T) logits of broadcast rows; P(click) = P(looked at) P(appeals), P(conversion) = P(click) P(.. | click).

    The effect of the context is added to the logits of both.
    """
    rested, given_click = rested_logits(users, ads)
    click = click_logits(rested, users.recent, ads.category)
    if effect is not None:
        click, given_click = click + effect.click, given_click + effect.conversion
    conversion = -np.logaddexp(-click, np.logaddexp(-given_click, -(click + given_click)))
    logits = np.stack([click, conversion], axis=-1)
    if looked_at < 1:  # 1 / (e p) - 1 = (1 / p - 1) / e + (1 - e) / e
        logits = -np.logaddexp(np.float32(np.log(1 / looked_at - 1)), -logits - np.float32(np.log(looked_at)))
    return logits
