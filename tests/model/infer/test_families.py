"""Key families of fields that share values, and of the history."""

import pyarrow as pa

from model.infer.families import find_families
from model.infer.kinds import find_field
from model.infer.reading import read_frames

CITIES = [f"city {n}" for n in range(40)]


def families(users, ads, *, history=True):
    log = read_frames({"events": pa.table({"n": [1]}), "users": pa.table(users), "ads": pa.table(ads)})
    fields = [[found for column in log.columns[table] if (found := find_field(log, table, column, side)[0])]
              for table, side in (("users", "user"), ("ads", "item"))]
    found, guesses = find_families(log, *fields, history=history)
    assert len(guesses) == len(found)
    return {family.name: family for family in found}


def test_fields_with_the_same_values_make_a_family_and_codes_do_not():
    found = families({"home": CITIES * 3, "level": [1, 2, 3, 4] * 30, "likes": [["bikes", "tea"], ["art"]] * 60},
                     {"shop": CITIES * 3, "size": [1, 2, 3, 4] * 30, "tags": [["tea", "art"], ["bikes", "cars"]] * 60})
    assert {name for name in found if "_is_" in name} == {"home_is_shop", "likes_is_tags"}
    assert (found["home_is_shop"].item_field, found["home_is_shop"].user_field) == ("shop", "home")


def test_codes_make_a_family_if_their_names_say_the_same():
    assert "user_city_is_shop_city" in families({"user_city": [1, 2, 3] * 9}, {"shop_city": [1, 2, 3] * 9})


def test_history_families_are_left_out_without_a_history():
    assert set(families({"home": CITIES * 3}, {"shop": CITIES * 3})) == {
        "home_is_shop", "shop", "item_to_item", "shop_to_shop"}
    assert set(families({"home": CITIES * 3}, {"shop": CITIES * 3}, history=False)) == {"home_is_shop"}
    assert set(families({"home": CITIES * 3}, {"x": ["a", "b"] * 60}, history=False)) == {"same_ad"}


def test_ads_without_fields_are_told_apart_by_similar_users():
    found = families({"home": CITIES * 3}, {"price": [0.5 + n for n in range(120)]})
    assert {name: family.via for name, family in found.items()} == {"item_to_item": "co_click",
                                                                    "similar_users": "similar_users"}
    assert set(families({"home": CITIES * 3}, {"price": [0.5 + n for n in range(120)]}, history=False)) == {"same_ad"}
