"""RecentRequests: it fills at once, then forgets slowly, whatever the rate."""

from service.sampling.recent_requests import RecentRequests


def numbers(sample):
    return [int(body) for body in sample.bodies()]


def test_bodies_are_kept_as_they_come_when_there_is_room():
    sample = RecentRequests(4)
    for number in range(3):
        sample.add(b"%d" % number)
    assert numbers(sample) == [0, 1, 2]


def test_a_burst_leaves_one_body_when_the_sample_is_full():
    sample = RecentRequests(8, spacing=1000)
    for number in range(1000):
        sample.add(b"%d" % number)
    kept = numbers(sample)
    assert len(kept) == 8
    assert kept[-1] == 8  # the first that met a full sample; the others came within the spacing
    assert set(kept[:-1]) < set(range(8))


def test_bodies_span_more_than_the_newest_when_many_were_taken():
    sample = RecentRequests(64, spacing=0)
    for number in range(10_000):
        sample.add(b"%d" % number)
    kept = numbers(sample)
    assert kept == sorted(kept)
    assert kept[-1] == 9_999
    assert len(kept) == 64
    assert kept[0] < 10_000 - 70  # the last 64 alone would begin at 9,936; by chance this fails once in 10^9 runs


def test_nothing_is_kept_when_no_entries_are_allowed():
    sample = RecentRequests(0)
    sample.add(b"body")
    assert sample.bodies() == []
