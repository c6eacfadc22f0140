"""The synthetic world: attributes of users and ads, and each user's probability to click and convert on each ad.

    click logit      = BIAS + activity + region + quality + format + tags             main effects
                       + interest x category + brand loyalty - fatigue                crossings
                       + age, gender x price + device x format
    conversion logit = given the click: rating, activity, interest, loyalty, price

A user has SLOTS interests, which are categories; other categories of the same departments interest a little. Fatigue
is how recently the user clicked an ad of the category, counted in clicks. A model can see or infer every term: fields
show interests, brands, activity and quality (some hidden, some noisy), the click history shows interests, brands and
fatigue.

The parameters are frozen: figures of different days and searches refer to the same world. Do not tune them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.sources.draws import Draws, zipf

SLOTS = 3
"""Interests of a user, and loyal brands: one brand from the department of each interest."""
RECENT_CLICKS = 5

AGE_GROUPS = 7
GENDERS = 3
REGIONS = 30
DEVICES = 4
PRICE_BUCKETS = 8
FORMATS = 5
BRANDS_A_DEPARTMENT = 80

BIAS = -4.3
INTEREST = 3.4
RELATED = 0.8
LOYALTY = 2.0
FATIGUE = 2.0
FATIGUE_DECAY = 0.6
PRICE = 0.35
ACTIVITY = 0.3
QUALITY = 0.4
SALE, NEW = 0.3, -0.2

CONVERSION_BIAS = -2.6
CONVERSION_INTEREST = 0.5
CONVERSION_LOYALTY = 1.6
CONVERSION_PRICE = 0.25
CONVERSION_ACTIVITY = 0.25
CONVERSION_RATING = 0.6

_TABLES = Draws(2024)
REGION_EFFECT = (0.15 * _TABLES.normal("region", np.arange(REGIONS))).astype(np.float32)
FORMAT_EFFECT = (0.15 * _TABLES.normal("format", np.arange(FORMATS))).astype(np.float32)
DEVICE_FORMAT = (0.3 * _TABLES.normal("device x format", np.arange(DEVICES * FORMATS))
                 ).reshape(DEVICES, FORMATS).astype(np.float32)
PREFERRED_PRICE = (np.linspace(0.5, 6.0, AGE_GROUPS)[:, None] + np.array([0.0, -0.7, 0.7])).astype(np.float32)
"""(AGE_GROUPS, GENDERS) price bucket that the group likes best."""

CATEGORY_SKEW, BRAND_SKEW = 0.6, 0.7


@dataclass(frozen=True)
class Shape:
    """Sizes that follow from the number of ads: categories grow with its square root, brands with the categories."""

    categories: int
    departments: int

    @classmethod
    def of(cls, ads: int) -> Shape:
        categories = max(8, round(40 * (ads / 1000) ** 0.5))
        return cls(categories, max(2, categories // 10))

    @property
    def brands(self) -> int:
        return self.departments * BRANDS_A_DEPARTMENT


class _Rows:
    """Dataclasses of arrays whose first axis is the row."""

    def take(self, rows: Any) -> Any:
        """The given rows."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))  # type: ignore[arg-type]

    def column(self) -> Any:
        """The same with an axis of length 1 after the rows, to broadcast against ads."""
        return type(self)(*(getattr(self, f.name)[:, None] for f in fields(self)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ads(_Rows):
    """What the true logits read of N ads; all (N,)."""

    category: NDArray[np.int32]
    department: NDArray[np.int32]
    brand: NDArray[np.int32]
    price: NDArray[np.int8]
    format: NDArray[np.int8]
    sale: NDArray[np.bool_]
    new: NDArray[np.bool_]
    quality: NDArray[np.float32]
    rating: NDArray[np.float32]


@dataclass(frozen=True)
class Users(_Rows):
    """What the true logits read of N users; (N,) or (N, several)."""

    interests: NDArray[np.int32]
    departments: NDArray[np.int32]
    brands: NDArray[np.int32]
    age: NDArray[np.int8]
    gender: NDArray[np.int8]
    region: NDArray[np.int8]
    device: NDArray[np.int8]
    activity: NDArray[np.float32]
    recent: NDArray[np.int32]
    """(N, RECENT_CLICKS) categories of the last clicks, most recent first, -1 where there was none."""


def draw_ads(draws: Draws, row: NDArray[np.int64], shape: Shape) -> Ads:
    """The given ads."""
    category = draws.chosen("ad category", row, zipf(shape.categories, CATEGORY_SKEW))
    department = (category % shape.departments).astype(np.int32)
    return Ads(
        category=category,
        department=department,
        brand=brands_of(draws, "ad brand", row, department, shape),
        price=draws.integers("ad price", row, PRICE_BUCKETS).astype(np.int8),
        format=draws.integers("ad format", row, FORMATS).astype(np.int8),
        sale=draws.uniform("ad sale", row) < 0.2,
        new=draws.uniform("ad new", row) < 0.2,
        quality=draws.normal("ad quality", row).astype(np.float32),
        rating=draws.normal("ad rating", row).astype(np.float32),
    )


def draw_users(draws: Draws, rows: NDArray[np.int64], shape: Shape) -> Users:
    """The given users, before their first click. Half of the second interests share the department of the first."""
    slots = rows[:, None] * SLOTS + np.arange(SLOTS)
    interests = draws.chosen("interest", slots, zipf(shape.categories, CATEGORY_SKEW))
    home = interests[:, 0] % shape.departments
    siblings = -(-(shape.categories - home) // shape.departments)
    sibling = home + shape.departments * draws.integers("sibling interest", rows, siblings)
    interests[:, 1] = np.where(draws.uniform("stays home", rows) < 0.5, sibling, interests[:, 1])
    departments = (interests % shape.departments).astype(np.int32)
    return Users(
        interests=interests,
        departments=departments,
        brands=brands_of(draws, "loyal brand", rows[:, None] * SLOTS + np.arange(SLOTS), departments, shape),
        age=draws.integers("age", rows, AGE_GROUPS).astype(np.int8),
        gender=draws.integers("gender", rows, GENDERS).astype(np.int8),
        region=draws.chosen("user region", rows, zipf(REGIONS, 1.0)).astype(np.int8),
        device=draws.integers("device", rows, DEVICES).astype(np.int8),
        activity=draws.normal("activity", rows).astype(np.float32),
        recent=np.full((len(rows), RECENT_CLICKS), -1, np.int32),
    )


def brands_of(draws: Draws, stream: str, counters: NDArray[np.int64], departments: NDArray[np.int32],
              shape: Shape) -> NDArray[np.int32]:
    """A brand of the given department each."""
    rank = draws.chosen(stream, counters, zipf(BRANDS_A_DEPARTMENT, BRAND_SKEW))
    return (rank * shape.departments + departments).astype(np.int32)


def fatigue(recent: NDArray[np.int32], category: NDArray[np.int32]) -> NDArray[np.float32]:
    """FATIGUE_DECAY ** (clicks since the last one in the category), 0 if it is not among the recent ones."""
    result = np.zeros(np.broadcast_shapes(recent.shape[:-1], category.shape), np.float32)
    for back in reversed(range(RECENT_CLICKS)):
        result[recent[..., back] == category] = FATIGUE_DECAY**back
    return result


def crossings(users: Users, ads: Ads) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Terms of the click logit: interest, loyalty, price and the ad's quality; arguments as for `rested_logits`."""
    interest, loyal = _interest(users, ads), _loyal(users, ads)
    related = (users.departments[..., 0] == ads.department)
    for slot in range(1, SLOTS):
        related = related | (users.departments[..., slot] == ads.department)
    taste = np.where(interest, np.float32(INTEREST), np.float32(RELATED) * related)
    return taste, LOYALTY * loyal, -PRICE * _off_price(users, ads), QUALITY * ads.quality


def conversion_terms(users: Users, ads: Ads) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Terms of the conversion logit: rating, interest, loyalty and price; arguments as for `rested_logits`."""
    return (CONVERSION_RATING * ads.rating, CONVERSION_INTEREST * _interest(users, ads),
            CONVERSION_LOYALTY * _loyal(users, ads), -CONVERSION_PRICE * _off_price(users, ads))


def _interest(users: Users, ads: Ads) -> NDArray[np.bool_]:
    interest: NDArray[np.bool_] = (users.interests[..., 0] == ads.category)
    for slot in range(1, SLOTS):
        interest = interest | (users.interests[..., slot] == ads.category)
    return interest


def _loyal(users: Users, ads: Ads) -> NDArray[np.bool_]:
    loyal: NDArray[np.bool_] = (users.brands[..., 0] == ads.brand)
    for slot in range(1, SLOTS):
        loyal = loyal | (users.brands[..., slot] == ads.brand)
    return loyal


def _off_price(users: Users, ads: Ads) -> NDArray[np.float32]:
    off: NDArray[np.float32] = np.abs(ads.price - PREFERRED_PRICE[users.age, users.gender])
    return off


def rested_logits(users: Users, ads: Ads) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits of click, as if the user had never clicked, and of conversion given the click.

    Args:
        users, ads: aligned rows for pairs, or `users.column()` for every user with every ad.
    """
    taste, loyalty, price, quality = crossings(users, ads)
    of_user = BIAS + ACTIVITY * users.activity + REGION_EFFECT[users.region]
    of_ad = quality + FORMAT_EFFECT[ads.format] + SALE * ads.sale + NEW * ads.new
    click = of_user + of_ad + taste + loyalty + price + DEVICE_FORMAT[users.device, ads.format]
    rating, interest, loyal, off_price = conversion_terms(users, ads)
    conversion = CONVERSION_BIAS + CONVERSION_ACTIVITY * users.activity + rating + interest + loyal + off_price
    return click.astype(np.float32), conversion.astype(np.float32)


def click_logits(rested: NDArray[np.float32], recent: NDArray[np.int32],
                 category: NDArray[np.int32]) -> NDArray[np.float32]:
    """Logits of click in the users' present state, from those of `rested_logits`; `recent` as in `Users`."""
    tired: NDArray[np.float32] = rested - np.float32(FATIGUE) * fatigue(recent, category)
    return tired


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
    return result
