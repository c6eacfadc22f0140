"""Domains of the moving world: where an impression is shown, such as the app or country, and what people like there.

    click logit += rate of the domain + its taste for the ad's category, for everyone and for the user's gender
                   + (its weight - 1) x term, for interest, loyalty, price and quality
    conversion logit likewise, with a rate and weights of its own

So domains differ in what is clicked, not only in how much: in one people follow their interests, in another the price.
Impressions are drawn as in the world without domains; most of a user's are in the user's home. The parameters are
frozen, as are those of `world.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec, FieldSpec
from index_store.features.encoder import UNKNOWN, FeatureEncoder
from model.data.load import Events
from model.sources.draws import Draws, zipf
from model.sources.world import GENDERS, Ads, Shape, Users, conversion_terms, crossings

DOMAIN = "domain"
MOST_DOMAINS = 64

SHARE_SKEW = 0.8
AT_HOME = 0.6
"""Share of a user's impressions that are in the home domain whatever the shares of the domains are."""

RATE, TASTE, GENDER_TASTE, WEIGHT = 0.4, 0.5, 0.6, 0.6
"""Standard deviations: of rates and tastes in log odds, of weights of the terms in their logarithm."""


class Effect(NamedTuple):
    """What a domain adds to the logits (N,) of click, and of conversion given the click."""

    click: NDArray[np.float32]
    conversion: NDArray[np.float32]


def with_domain(spec: FeatureSpec) -> FeatureSpec:
    """A declaration that also lets the model read the domain."""
    return replace(spec, context_fields=(*spec.context_fields, FieldSpec(DOMAIN, "categorical", model=True)))


def domain_text(domains: NDArray[np.integer]) -> NDArray[np.str_]:
    """Domains as in the log, from d00."""
    return np.char.add("d", np.char.zfill(domains.astype(str), 2))


@dataclass(frozen=True)
class TrueDomains:
    """What the K domains do to logits.

    Attributes:
        rates: (2, K) float32, of click and conversion.
        tastes: (K, GENDERS, categories) float32, of click.
        click_weights: (K, terms of `crossings`) float32.
        conversion_weights: (K, terms of `conversion_terms`) float32.
    """

    rates: NDArray[np.float32]
    tastes: NDArray[np.float32]
    click_weights: NDArray[np.float32]
    conversion_weights: NDArray[np.float32]

    @classmethod
    def of(cls, draws: Draws, domains: int, shape: Shape) -> TrueDomains:
        """Draws the effects of a number of domains."""
        def normal(stream: str, *sizes: int) -> NDArray[np.float32]:
            drawn = draws.normal(f"domain {stream}", np.arange(int(np.prod(sizes)))).reshape(sizes)
            return drawn.astype(np.float32)

        tastes = (TASTE * normal("taste", domains, 1, shape.categories)
                  + GENDER_TASTE * normal("taste of gender", domains, GENDERS, shape.categories))
        return cls(RATE * normal("rate", 2, domains), tastes, np.exp(WEIGHT * normal("click weight", domains, 4)),
                   np.exp(WEIGHT * normal("conversion weight", domains, 4)))

    def __len__(self) -> int:
        return len(self.tastes)

    def drawn(self, draws: Draws, number: NDArray[np.int64], user: NDArray[np.int64]) -> NDArray[np.int64]:
        """The domain (N,) of impressions (their numbers) of users."""
        shares = zipf(len(self), SHARE_SKEW)
        home = draws.chosen("home domain", user, shares)
        away = draws.chosen("domain", number, shares)
        return np.where(draws.uniform("at home", number) < AT_HOME, home, away).astype(np.int64)

    def effect(self, domain: NDArray[np.int64], users: Users, ads: Ads) -> Effect:
        """Of impressions (N,) of aligned users and ads."""
        click = np.stack([*crossings(users, ads)], axis=1)
        conversion = np.stack([*conversion_terms(users, ads)], axis=1)
        return Effect(
            self.rates[0, domain] + self.tastes[domain, users.gender, ads.category]
            + ((self.click_weights[domain] - 1) * click).sum(1),
            self.rates[1, domain] + ((self.conversion_weights[domain] - 1) * conversion).sum(1))

    def of_events(self, events: Events, encoder: FeatureEncoder) -> NDArray[np.int64] | None:
        """The domains (N,) of a log's events; None if its declaration does not read them, or one is unknown."""
        names = [field.name for field in encoder.spec.model_context]
        if events.context is None or DOMAIN not in names or (events.context[:, names.index(DOMAIN)] == UNKNOWN).any():
            return None
        numbers = np.char.lstrip(encoder.vocabularies[f"context.{DOMAIN}"], b"d").astype(np.int64)
        found: NDArray[np.int64] = numbers[events.context[:, names.index(DOMAIN)] - 1]
        return found
