"""The recorder: it fills at once, then forgets slowly, whatever the rate."""

from service.sampling.recorder import Recorder


def numbers(recorder):
    return [int(body) for body in recorder.requests()]


def test_bodies_are_kept_as_they_come_when_there_is_room():
    recorder = Recorder(4)
    for number in range(3):
        recorder.note(b"%d" % number)
    assert numbers(recorder) == [0, 1, 2]


def test_a_burst_leaves_one_body_when_the_recorder_is_full():
    recorder = Recorder(8, spacing=1000)
    for number in range(1000):
        recorder.note(b"%d" % number)
    kept = numbers(recorder)
    assert len(kept) == 8
    assert kept[-1] == 8  # the first that met a full recorder; the others came within the spacing
    assert set(kept[:-1]) < set(range(8))


def test_bodies_span_more_than_the_newest_when_many_were_taken():
    recorder = Recorder(64, spacing=0)
    for number in range(10_000):
        recorder.note(b"%d" % number)
    kept = numbers(recorder)
    assert kept == sorted(kept)
    assert kept[-1] == 9_999
    assert len(kept) == 64
    assert kept[0] < 10_000 - 70  # the last 64 alone would begin at 9,936; by chance this fails once in 10^9 runs


def test_nothing_is_kept_when_the_recorder_has_no_entries():
    recorder = Recorder(0)
    recorder.note(b"body")
    assert recorder.requests() == []
