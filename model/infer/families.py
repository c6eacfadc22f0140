"""Key families: what a user and an ad may have in common, by the history and by values that both sides share."""

from __future__ import annotations

from collections.abc import Sequence

from index_store.declaration.spec import ITEM_ID, KeyFamily
from model.infer.guess import Guess
from model.infer.kinds import Field
from model.infer.reading import Log
from model.infer.roles import plain

NEIGHBOURS_OF_ADS, NEIGHBOURS_OF_VALUES, SIMILAR_USERS = 50, 10, 50

MANY = 30
"""Values from which it is worth to learn which of them are clicked together."""

SHARED, FEWEST = 0.5, 3
"""Share and number of a user field's values that an ad field must know."""


def find_families(log: Log, user: Sequence[Field], item: Sequence[Field], *,
                  history: bool) -> tuple[list[KeyFamily], list[Guess]]:
    """Key families for the fields, with the reasons; without a history, those of values that both sides have."""
    keyed = [field for field in item if field.spec.kind != "dense"]
    values = {id(field): _values(log, field) for field in (*keyed, *(f for f in user if f.spec.kind != "dense"))}
    families, guesses = [], []

    def add(family: KeyFamily, value: str, why: str) -> None:
        families.append(family)
        guesses.append(Guess(f"key family {family.name}", value, why))

    for mine in (field for field in user if field.spec.kind != "dense"):
        for theirs in keyed:
            shared = values[id(mine)] & values[id(theirs)]
            number, name = len(shared), f"{mine.spec.name}_is_{theirs.spec.name}"
            codes = all(value.lstrip("-").isdigit() for value in shared)
            alike = plain(mine.spec.name).split("_")[-1] == plain(theirs.spec.name).split("_")[-1]
            if number >= FEWEST and number >= SHARED * len(values[id(mine)]) and (alike or not codes):
                add(KeyFamily(name, theirs.spec.name, "match", user_field=mine.spec.name),
                    f"{mine.spec.name} = {theirs.spec.name}",
                    f"{number} of {len(values[id(mine)])} values of the user's field are values of the ads' field")
    if history:
        for field in keyed:
            add(KeyFamily(field.spec.name, field.spec.name, "match"), "match",
                f"does the ad share {field.spec.name} with ads of the history")
        add(KeyFamily("item_to_item", ITEM_ID, "co_click", NEIGHBOURS_OF_ADS), "co_click",
            "which ads the same users clicked")
        if not keyed:
            add(KeyFamily("similar_users", ITEM_ID, "similar_users", SIMILAR_USERS), "similar_users",
                "what the users with the most similar histories clicked; no field of the ads tells as much")
        for field in keyed:
            if len(values[id(field)]) >= MANY:
                add(KeyFamily(f"{field.spec.name}_to_{field.spec.name}", field.spec.name, "co_click",
                              NEIGHBOURS_OF_VALUES), "co_click",
                    f"which of {len(values[id(field)]):,} values of {field.spec.name} the same users clicked")
    if not families:
        add(KeyFamily("same_ad", ITEM_ID, "match"), "match", "a declaration needs one; without a history it says "
                                                             "nothing")
    return families, guesses


def _values(log: Log, field: Field) -> set[str]:
    many = f"unnest({field.sql})" if field.spec.kind == "multi" else field.sql
    rows = log.con.execute(f"SELECT DISTINCT v::VARCHAR FROM (SELECT {many} AS v FROM {field.table}) "
                           "WHERE v IS NOT NULL").fetchall()
    return {value for value, in rows}
