"""The nearest known name."""

import pytest

from index_store.declaration.nearest import nearest, suggestion


@pytest.mark.parametrize(("name", "found"), [
    ("nmae", "name"), ("User_ID", "user_id"), ("ad_i", "ad_id"), ("xyz", None), ("", None), (7, None)])
def test_nearest_is_the_name_that_differs_by_a_slip(name, found):
    assert nearest(name, ["name", "user_id", "ad_id", "timestamp"]) == found
    assert suggestion(name, ["name", "user_id", "ad_id"]) == (f"did you mean {found!r}? " if found else "")


def test_nothing_is_near_where_nothing_is_known():
    assert nearest("a", []) is None
