"""Withdrawals by position against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from index_store.live.withdrawals import Status, Withdrawal, Withdrawals

BATCHES = st.lists(st.dictionaries(st.integers(0, 20), st.builds(Withdrawal, st.sampled_from(Status),
                                                                 st.integers(1, 2**40)), max_size=8), max_size=6)


@given(BATCHES)
def test_each_position_has_its_last_withdrawal_when_batches_replace_each_other(batches):
    kept, plain = Withdrawals.none(), {}
    for batch in batches:
        before, earlier = dict(plain), kept
        kept = kept.replaced(batch)
        plain = {at: one for at, one in (plain | batch).items() if one.status is not Status.ACTIVE}
        assert {at: one for at in range(21) if (one := earlier.at(at))} == before
    assert {at: one for at in range(21) if (one := kept.at(at))} == plain
    assert kept.positions.tolist() == sorted(plain)
    assert (len(kept), kept.positions.itemsize + kept.statuses.itemsize + kept.versions.itemsize) == (len(plain), 13)
