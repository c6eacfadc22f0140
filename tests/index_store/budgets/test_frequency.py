"""Frequency: capped campaigns are those that a plain list of impressions says."""

from hypothesis import given
from hypothesis import strategies as st

from index_store.budgets.campaign import FrequencyCap
from index_store.budgets.frequency import MOST_SEEN, NOTHING_SEEN, capped, with_impression

CAPS = [FrequencyCap(1, 1), FrequencyCap(2, 24), FrequencyCap(5, 168), FrequencyCap(100, 2)]
HOUR = 3600.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=60), st.integers(0, 200))
def test_campaigns_are_capped_when_a_user_saw_them_often_enough_within_the_hours(impressions, now):
    seen, impressions = NOTHING_SEEN, sorted(impressions, key=lambda one: one[1])
    for number, hour in impressions:
        seen = with_impression(seen, number, hour * HOUR, CAPS[number])
    now += max((hour for _, hour in impressions), default=0)
    expected = [number for number, cap in enumerate(CAPS) if sum(
        other == number and hour > now - cap.hours for other, hour in impressions) >= cap.impressions]
    assert capped(seen, now * HOUR, lambda number: CAPS[number]) == expected


def test_memory_of_a_user_is_bounded_and_a_lifted_cap_counts_no_more():
    seen = NOTHING_SEEN
    for second in range(2_000):
        seen = with_impression(seen, second % 40, float(second), FrequencyCap(100, 168))
    assert len(seen) == 12 * MOST_SEEN
    assert capped(seen, 2_000.0, lambda number: None) == []
    late = with_impression(with_impression(NOTHING_SEEN, 1, 50.0, CAPS[0]), 1, 10.0, CAPS[0])
    assert capped(late, 50.0, lambda number: CAPS[0]) == [1]
