"""The tally of ads: its counts, and that memory stays bounded."""

from service.sampling.ad_tally import AdTally


def test_ads_that_were_seen_most_come_first():
    tally = AdTally()
    for ads in (["a", "b"], ["b"], ["b", "c"], ["c"]):
        tally.add(ads)
    assert tally.most(2) == [("b", 3), ("c", 2)]


def test_frequent_ad_stays_when_more_come_than_there_is_room_for():
    tally = AdTally(room=10)
    for number in range(1_000):
        tally.add(["often", f"once-{number}"])
    assert tally.most(1) == [("often", 1_000)]
    assert len(tally.most(1_000)) <= 20
