"""snap-ads: political ads of a public ads library with their targeting and spend, and a synthetic population.

`ads.csv.gz` holds one ad a line. Its targeting becomes a predicate (ad_targeting), its advertiser has the role
`advertiser`, the organisation that pays for it, in one currency, the role `campaign`. The file has no users and no
clicks: the users come from the synthetic population (population), and clicks and conversions are those of the synthetic
world, whose truth is stored (truth): what an ad is about is planted, whom it targets is real. Impressions are drawn
without regard to targeting, as in the synthetic log.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index_store.declaration.spec import FieldSpec
from index_store.targeting.predicates import PredicateError, parse_predicate, to_text
from model.data.tables import CAMPAIGNS, TARGETING, TRUTH, DataError, prepare, side_schema
from model.sources.ad_targeting import AUDIENCE, FROM_COLUMN, LOCATIONS, PLACE, predicate_of
from model.sources.draws import Draws
from model.sources.population import Population
from model.sources.synthetic import SPEC, Catalogue, ad_table, check_sizes, numbered, user_table, write_log
from model.sources.world import Shape, Users, draw_ads, draw_users

FILE = "ads.csv.gz"
PLACES = "users.place.npy"
"""In `truth/`: (users, 2) float64 latitude and longitude, NaN where it is not known. Positions have no column, since
they are the moment's; a request gives one in its context."""

SNAP_SPEC = replace(
    SPEC, context_fields=(PLACE,), user_fields=(*SPEC.user_fields, *AUDIENCE),
    item_fields=(*SPEC.item_fields, FieldSpec("advertiser", "categorical", "advertiser"),
                 FieldSpec("campaign", "categorical", "campaign")))

AGE_GROUP_ENDS = (18, 25, 35, 45, 55, 65)
"""First age of each age group of the synthetic world but the youngest."""

_COLUMNS = ("ad_id", "advertiser", "organisation", "spend", "currency", "start", "end", "age", "radius_included",
            "radius_excluded", *FROM_COLUMN.values(),
            *(f"{name}_{side}" for name in LOCATIONS.values() for side in ("included", "excluded")))
_TIME = "%Y/%m/%d %H:%M:%SZ"


@dataclass(frozen=True)
class SnapAds:
    """The ads of the file.

    Attributes:
        rows: of the file, by ad id.
        predicates: canonical text of each ad's targeting.
    """

    rows: tuple[Mapping[str, str], ...]
    predicates: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> SnapAds:
        """Reads `ads.csv.gz`.

        Raises:
            DataError: it is missing, lacks a column, or an ad cannot be read.
        """
        path = folder / FILE
        if not path.is_file():
            raise DataError(f"{path} does not exist; --source must name the folder that holds it")
        with gzip.open(path, "rt", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the columns {missing}; it has {reader.fieldnames}")
            rows = sorted(reader, key=lambda row: row["ad_id"])
        if not rows:
            raise DataError(f"{path} has no ads; take a whole copy")
        kinds = {field.name: field.kind for field in (*AUDIENCE, PLACE)}
        texts = []
        for row in rows:
            try:
                texts.append(to_text(parse_predicate(predicate_of(row), kinds)))
            except (DataError, PredicateError) as error:
                raise DataError(f"{path}: ad {row['ad_id']!r}: {error}") from error
        return cls(tuple(rows), tuple(texts))

    @cached_property
    def frequencies(self) -> Mapping[str, int]:
        """Distinct targeting -> number of ads."""
        return Counter(self.predicates)

    @property
    def campaigns(self) -> list[str]:
        """The campaign of each ad: an organisation pays in one currency, or it counts as several."""
        return [f"{row['organisation']}-{row['currency']}" for row in self.rows]


def write(source: Path, out: Path, users: int, events: int, seed: int) -> str:
    """Turns the source folder into a data folder with so many users and impressions; returns what it holds.

    Raises:
        DataError: the file cannot be used, or a size is not positive.
    """
    snap = SnapAds.read(source)
    check_sizes(len(snap.rows), users, events)
    prepare(out)
    draws, rows = Draws(seed), np.arange(len(snap.rows))
    shape = Shape.of(len(rows))
    catalogue, population = Catalogue.of(draw_ads(draws, rows, shape), shape), Population(snap.rows, draws)
    ids = pa.array([row["ad_id"] for row in snap.rows])
    planted = ad_table(draws, rows, catalogue.ads, shape, ids)
    columns = {name: planted[name] for name in side_schema(SPEC, "item").names}
    ads = pa.table(columns | {"advertiser": [row["advertiser"] for row in snap.rows], "campaign": snap.campaigns,
                              TARGETING: list(snap.predicates)}, schema=side_schema(SNAP_SPEC, "item", [TARGETING]))
    places = np.full((users, 2), np.nan)

    def people_of(numbers: NDArray[np.int64]) -> tuple[Users, pa.Table]:
        people = population.people(numbers)
        places[numbers] = people.places
        planted = _as_planted(draw_users(draws, numbers, shape), people.table)
        table = user_table(draws, numbers, planted, shape, numbered("u", numbers, users))
        return planted, pa.table({**{name: table[name] for name in table.column_names},
                                  **{name: people.table[name] for name in people.table.column_names}},
                                 schema=side_schema(SNAP_SPEC, "user"))

    pq.write_table(campaign_table(snap), out / CAMPAIGNS, write_page_checksum=True)
    write_log(out, SNAP_SPEC, draws, catalogue, [ads], users, events, people_of)
    np.save(out / TRUTH / PLACES, places)
    circles = sum(1 for row in snap.rows if row["radius_included"] or row["radius_excluded"])
    return (f"{len(rows):,} ads with {len(snap.frequencies):,} distinct targetings, {circles:,} with circles, "
            f"of {len({row['advertiser'] for row in snap.rows}):,} advertisers and {len(set(snap.campaigns)):,} "
            "campaigns; all of the file's ads came through")


def _as_planted(users: Users, table: pa.Table) -> Users:
    """Users of the synthetic world, of the age group and gender of the population's."""
    sexes = {"FEMALE": 0, "MALE": 1}
    gender = [sexes.get(sex, 2) for sex in table["sex"].to_pylist()]
    return replace(users, gender=np.array(gender, np.int8),
                   age=np.searchsorted(AGE_GROUP_ENDS, table["years"].to_numpy(), side="right").astype(np.int8))


def campaign_table(snap: SnapAds) -> pa.Table:
    """Budgets: for each campaign its currency, spend and daily budget, what it spent over the days on which it ran."""
    ads: dict[str, list[Mapping[str, str]]] = {}
    for name, row in zip(snap.campaigns, snap.rows, strict=True):
        ads.setdefault(name, []).append(row)
    last = max(_moment(row["end"] or row["start"]) for row in snap.rows)
    spends = [sum(int(row["spend"]) for row in group) * 1_000_000 for group in ads.values()]
    days = [_days(group, last) for group in ads.values()]
    return pa.table({"campaign": list(ads), "currency": [group[0]["currency"] for group in ads.values()],
                     "ads": [len(group) for group in ads.values()], "spend_micros": spends, "days": days,
                     "daily_budget_micros": [spend // n for spend, n in zip(spends, days, strict=True)]})


def _days(ads: Sequence[Mapping[str, str]], last: datetime) -> int:
    """Days on which one of some ads ran, the first and the last included; one without an end runs until `last`."""
    running = {day for row in ads for day in range(_moment(row["start"]).toordinal(), max(
        _moment(row["start"]), _moment(row["end"]) if row["end"] else last).toordinal() + 1)}
    return len(running)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise DataError(f"{text!r} is not a time such as 2018/10/09 15:51:44Z") from error

