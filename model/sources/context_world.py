"""Context of the synthetic world: where an ad was shown and at which hour, and what both do to its click logit.

    click logit += position effect + hour effect of the ad's category

The place of an ad in an answer is due to the policy that made the log: it pushes some ads whatever they are worth, and
puts what it likes for a user further up. So ads that were pushed have more clicks than they earn, unless one accounts
for their positions. The parameters are frozen, as are those of `world.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from index_store.declaration.spec import FeatureSpec, FieldSpec
from index_store.features.encoder import UNKNOWN, FeatureEncoder
from model.data.load import Events
from model.sources.draws import Draws

HOUR, POSITION = "hour", "position"
POSITIONS, HOURS = 8, 24

EXAMINED = -1.1
"""Log odds that a position loses against the first, a unit of the logarithm of its number."""

PREFERENCE = 1.2
"""Log odds that an ad gains at the best hour of its category, and loses twelve hours later."""

PUSHED, LIKED, BY_CHANCE = 0.8, 0.4, 0.45
"""Standard deviations of the policy's score: by ad, by what the pair's logit is, and by neither."""

LOGIT_MEAN, LOGIT_DEVIATION = -3.2, 1.9
"""Of the logits of what the policy shows, about."""


def with_context(spec: FeatureSpec) -> FeatureSpec:
    """A declaration that also lets the model read hour and position."""
    fields = FieldSpec(HOUR, "categorical", model=True), FieldSpec(POSITION, "categorical", model=True, serve_as="1")
    return replace(spec, context_fields=(*spec.context_fields, *fields))


def hour_text(hours: NDArray[np.integer]) -> NDArray[np.str_]:
    """Hours as in the log, from 00 to 23."""
    return np.char.zfill(hours.astype(str), 2)


@dataclass(frozen=True)
class TrueContext:
    """What context does to click logits.

    Attributes:
        position: (POSITIONS,) float32.
        hour: (HOURS, categories) float32.
    """

    position: NDArray[np.float32]
    hour: NDArray[np.float32]

    @classmethod
    def of(cls, draws: Draws, categories: int) -> TrueContext:
        """Draws the best hour of each category."""
        best = HOURS * draws.uniform("best hour", np.arange(categories))
        angle = 2 * np.pi * (np.arange(HOURS)[:, None] - best) / HOURS
        return cls((EXAMINED * np.log(np.arange(1, POSITIONS + 1))).astype(np.float32),
                   (PREFERENCE * np.cos(angle)).astype(np.float32))

    def positions(self, draws: Draws, number: NDArray[np.int64], ad: NDArray[np.int64],
                  rested: NDArray[np.float32]) -> NDArray[np.int64]:
        """The position (N,), from 0, that the policy gives to the ads of impressions with these logits (N,)."""
        score = PUSHED * draws.normal("pushed ad", ad) + LIKED * (rested - LOGIT_MEAN) / LOGIT_DEVIATION
        score += BY_CHANCE * draws.normal("position", number)
        place: NDArray[np.float64] = np.floor(POSITIONS * ndtr(-score))
        return np.minimum(place, POSITIONS - 1).astype(np.int64)

    def effect(self, position: NDArray[np.int64], hour: NDArray[np.int64],
               category: NDArray[np.int32]) -> NDArray[np.float32]:
        """Change of the click logits (N,) of impressions of ads of these categories, positions from 0."""
        return self.position[position] + self.hour[hour, category]

    def effect_of(self, events: Events, encoder: FeatureEncoder,
                  category: NDArray[np.int32]) -> NDArray[np.float32] | None:
        """The same of a log's events; None if its declaration does not read both fields, or one is unknown."""
        names = [field.name for field in encoder.spec.model_context]
        if events.context is None or not {HOUR, POSITION} <= set(names) or (events.context == UNKNOWN).any():
            return None
        hour, position = (encoder.vocabularies[f"context.{name}"].astype(np.int64)[
            events.context[:, names.index(name)] - 1] for name in (HOUR, POSITION))
        return self.effect(position - 1, hour, category)
