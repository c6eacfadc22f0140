"""How far back the log is needed."""

from index_store.budgets.ledger import KEPT_SECONDS
from index_store.budgets.remembered import remembered_seconds
from tests.index_store.budgets.spending import campaign


def test_two_days_are_needed_or_the_hours_of_the_longest_cap():
    assert remembered_seconds([]) == KEPT_SECONDS
    states = [campaign("a", 1.0, cap={"impressions": 1, "hours": 24}), campaign("b", None)]
    assert remembered_seconds(states) == KEPT_SECONDS
    states += [campaign("c", None, cap={"impressions": 9, "hours": 168})]
    assert remembered_seconds(states) == 168 * 3600
