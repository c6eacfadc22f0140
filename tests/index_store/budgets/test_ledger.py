"""The ledger: sums that are exact, whatever is added in which portions."""

from hypothesis import given
from hypothesis import strategies as st

from index_store.budgets.ledger import KEPT_SECONDS, QUARTER, Ledger, LedgerWriter
from tests.index_store.budgets.spending import DAY, MIDNIGHT

EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**15) | st.just(2**53 + 1),
                            st.integers(-DAY, DAY - 1), st.booleans()), max_size=30)


@given(EVENTS)
def test_sums_of_any_day_are_those_of_plain_integers(events):
    writer = LedgerWriter(Ledger())
    for done, (name, nanos, second, then) in enumerate(events, start=1):
        writer.add(name, nanos, MIDNIGHT + second, MIDNIGHT + second)
        assert writer.between(name, MIDNIGHT - DAY, MIDNIGHT + DAY) == sum(
            amount for other, amount, _, _ in events[:done] if other == name)
        if then:
            writer = LedgerWriter(writer.now)
    ledger = writer.now
    for name in "ab":
        for begin in range(-DAY, DAY, 6 * 3600):
            assert ledger.between(name, MIDNIGHT + begin, MIDNIGHT + begin + 6 * 3600) == sum(
                nanos for other, nanos, second, _ in events if other == name and begin <= second < begin + 6 * 3600)
    for quarter in range((MIDNIGHT - DAY) // QUARTER, (MIDNIGHT + DAY) // QUARTER):
        assert ledger.traffic(quarter) == sum((MIDNIGHT + second) // QUARTER == quarter for _, _, second, _ in events)


def test_event_counts_for_its_own_day_and_for_the_traffic_of_when_it_came():
    writer = LedgerWriter(Ledger())
    writer.add("a", 7, MIDNIGHT - 1, MIDNIGHT + QUARTER)
    ledger = writer.now
    assert ledger.between("a", MIDNIGHT - DAY, MIDNIGHT) == 7
    assert ledger.between("a", MIDNIGHT, MIDNIGHT + DAY) == 0
    assert (ledger.traffic(MIDNIGHT // QUARTER - 1), ledger.traffic(MIDNIGHT // QUARTER + 1)) == (0, 1)


def test_quarters_are_forgotten_when_they_are_older_than_two_days():
    ledger = Ledger()
    for second in range(0, 10 * DAY, QUARTER):
        writer = LedgerWriter(ledger)
        writer.add("a", 1, second, second)
        ledger = writer.now
    assert len(ledger.spent["a"]) <= KEPT_SECONDS // QUARTER + 1
    assert len(ledger.events) <= KEPT_SECONDS // QUARTER + 1
    assert ledger.between("a", 9 * DAY, 10 * DAY) == DAY // QUARTER


def test_ledger_stays_as_it_is_when_more_is_added():
    first = LedgerWriter(Ledger())
    first.add("a", 1, MIDNIGHT, MIDNIGHT)
    before = first.now
    then = LedgerWriter(before)
    then.add("a", 2, MIDNIGHT, MIDNIGHT)
    assert (before.between("a", MIDNIGHT, MIDNIGHT + DAY), then.now.between("a", MIDNIGHT, MIDNIGHT + DAY)) == (1, 3)
