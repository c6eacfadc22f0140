"""The contract of the change log, which each store keeps: order, versions, merging, keys, durability."""

import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from index_store.changes.change_log import (
    NEVER_CHANGED,
    Change,
    ChangeLogError,
    KeyReusedError,
    VersionConflictError,
    Write,
)
from index_store.changes.open_log import open_log
from tests.index_store.changes.writer import pair
from tests.paths import ROOT

VALUES = some.recursive(some.none() | some.booleans() | some.integers() | some.text(max_size=5)
                        | some.floats(allow_nan=False, allow_infinity=False),
                        lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner,
                                                                                        max_size=2), max_leaves=5)
WRITES = some.builds(Write, ad_id=some.sampled_from(["a", "b", "ä:}"]), if_version=some.none() | some.integers(0, 6),
                     fields=some.dictionaries(some.sampled_from(["x", "y", "", "at", "=n"]), VALUES, max_size=3),
                     key=some.sampled_from([None, None, "", "k", "=k"]))


@pytest.fixture(params=["sqlite", "redis"])
def place(request, tmp_path):
    """Where the log of this test is, and its index."""
    if request.param == "sqlite":
        return str(tmp_path / "changes.db"), "ads"
    return request.getfixturevalue("durable_redis").url, secrets.token_hex(8)


@pytest.fixture
def reopen(place):
    """Opens the log, as another process would; all are closed at the end."""
    opened = []

    def open_again():
        opened.append(open_log(*place))
        return opened[-1]

    yield open_again
    for log in opened:
        log.close()


@pytest.fixture
def log(reopen):
    return reopen()


def say(ad_id, **more):
    """A write of one field, or of those in `fields`."""
    return Write(ad_id=ad_id, **{"fields": {"bid": 1}, **more})


def contents(log):
    return [(change.sequence, change.ad_id, dict(change.fields)) for change in log.read(NEVER_CHANGED)]


def test_a_new_log_is_empty(log):
    assert (log.last(), log.read(NEVER_CHANGED), log.state("a1")) == (NEVER_CHANGED, [], None)
    assert log.append([]) == []


def test_changes_are_read_as_they_were_written_and_merged(log, reopen):
    written = log.append([say("a1", fields={"bid": 1.25, "tags": [], "brand": None}), say("a2")])
    written += log.append([say("a1", fields={"bid": 2, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})])
    assert contents(log) == [
        (1, "a1", {"bid": 1.25, "tags": [], "brand": None}), (2, "a2", {"bid": 1}),
        (3, "a1", {"bid": 2, "tags": [], "brand": None, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})]
    other = reopen()
    assert other.read(NEVER_CHANGED) == written
    assert all(isinstance(change, Change) and change.at > 1.7e9 for change in written)
    assert (other.state("a1"), other.state("a2"), other.state("a3")) == (written[2], written[1], None)


def test_changes_of_one_append_build_on_each_other(log):
    made = log.append([say("a1", fields={"x": 1}), say("a1", fields={"y": 2}, if_version=1),
                       say("a1", fields={"x": 3}, if_version=2)])
    assert [dict(change.fields) for change in made] == [{"x": 1}, {"x": 1, "y": 2}, {"x": 3, "y": 2}]


@pytest.mark.parametrize(("expected", "found", "ad"), [(NEVER_CHANGED, 1, "a1"), (2, 1, "a1"), (1, 0, "a2")])
def test_nothing_is_written_when_a_version_differs(log, expected, found, ad):
    log.append([say("a1")])
    with pytest.raises(VersionConflictError) as refused:
        log.append([say("a3"), say("a4"), say(ad, if_version=expected), say("a5")])
    assert (refused.value.index, refused.value.ad_id) == (2, ad)
    assert (refused.value.expected, refused.value.found) == (expected, found)
    assert (log.last(), log.state("a3")) == (1, None)
    assert log.append([say(ad, if_version=found)])[0].sequence == 2


def test_a_repeated_key_gets_the_first_change_after_reopening_too(log, reopen):
    first, = log.append([say("a1", fields={"x": 1, "y": [2]}, key="k", if_version=NEVER_CHANGED)])
    log.append([say("a1", fields={"x": 5})])
    again = say("a1", fields={"y": [2], "x": 1}, key="k", if_version=NEVER_CHANGED)
    assert reopen().append([again]) == [first]
    mixed = reopen().append([say("a2", key="new"), again, say("a2", key="new")])
    assert [change.sequence for change in mixed] == [3, 1, 3]
    assert log.last() == 3


@pytest.mark.parametrize("other", [say("a2", key="k"), say("a1", fields={"bid": 2}, key="k"),
                                   say("a1", fields={"bid": True}, key="k"), say("a1", fields={}, key="k")])
def test_nothing_is_written_when_a_key_is_reused_for_another_write(log, other):
    log.append([say("a1", key="k")])
    with pytest.raises(KeyReusedError) as refused:
        log.append([say("a3"), other])
    assert (refused.value.index, refused.value.key, log.last()) == (1, "k", 1)


def test_changes_are_read_in_pages(log):
    log.append([say(f"a{number % 7}") for number in range(1, 26)])
    pages, after = [], NEVER_CHANGED
    while page := log.read(after, 10):
        pages.append([change.sequence for change in page])
        after = page[-1].sequence
    assert pages == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]


def test_wait_ends_when_another_writes(log, reopen):
    log.append([say("a1")])
    assert log.wait(NEVER_CHANGED, 0)
    assert not log.wait(1, 0.03)
    writer = threading.Timer(0.05, lambda: reopen().append([say("a2")]))
    writer.start()
    assert log.wait(1, 30)
    writer.join()
    assert log.last() == 2


def test_a_log_that_ends_before_what_was_read_is_refused(log):
    log.append([say("a1")])
    for use in (lambda: log.read(2), lambda: log.wait(2, 0)):
        with pytest.raises(ChangeLogError, match=r"ends with change 1, but 2 was read"):
            use()


def written_by(writer):
    """Number and sequence numbers of each append that a writer process has had acknowledged."""
    return [tuple(map(int, line.split())) for line in writer.communicate(timeout=60)[0].splitlines()]


def start_writer(place, name, appends):
    return subprocess.Popen([sys.executable, "-m", "tests.index_store.changes.writer", *place, name, str(appends)],
                            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_pairs(log, acknowledged):
    """Every acknowledged append is there, once and whole, and numbers have no gaps; returns the number of appends."""
    changes = log.read(NEVER_CHANGED, 100_000)
    assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))
    pairs = {}
    for first, second in zip(changes[::2], changes[1::2], strict=True):
        name, number = first.ad_id.rpartition("-")[0], first.fields["number"]
        assert (second.ad_id, second.fields[name]) == ("shared", number)
        assert pairs.setdefault((name, number), first.sequence) == first.sequence
    for name, appends in acknowledged.items():
        assert [(pairs[name, number], pairs[name, number] + 1) for number, *_ in appends] == \
            [tuple(made) for _, *made in appends]
    return len(pairs)


def test_changes_have_one_order_without_gaps_when_four_processes_write(log, place):
    writers = {name: start_writer(place, name, 40) for name in "abcd"}
    acknowledged = {name: written_by(writer) for name, writer in writers.items()}
    assert check_pairs(log, acknowledged) == 160
    assert all(appends == sorted(appends) and len(appends) == 40 for appends in acknowledged.values())
    assert log.state("shared").fields == dict.fromkeys("abcd", 39)
    assert log.state("shared").sequence == 320


def test_no_change_is_lost_when_threads_write_by_version(log):
    def count(_):
        for _ in range(10):
            while True:
                state = log.state("a1")
                version, counted = (state.sequence, state.fields["counted"]) if state else (NEVER_CHANGED, 0)
                try:
                    log.append([say("a1", fields={"counted": counted + 1}, if_version=version)])
                    break
                except VersionConflictError:
                    pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert (log.state("a1").fields, log.last()) == ({"counted": 40}, 40)


def test_acknowledged_changes_are_there_once_when_the_writer_is_killed(place, reopen):
    writer = start_writer(place, "a", 0)
    begun = [tuple(map(int, writer.stdout.readline().split())) for _ in range(100)]
    writer.kill()
    acknowledged = begun + written_by(writer)
    log = reopen()
    made = check_pairs(log, {"a": acknowledged})
    assert made - len(acknowledged) in (0, 1)
    log.append(pair("a", made))
    assert check_pairs(log, {"a": acknowledged}) == made + 1


def appended(states, changes, keys, writes):
    """The model: what an append does to a dict of states, a list of changes and a dict of keys, or its error."""
    states, new, keys = dict(states), [], dict(keys)
    results = []
    for index, write in enumerate(writes):
        mark = json.dumps((write.ad_id, write.fields), sort_keys=True)
        if write.key in keys and write.key is not None:
            if keys[write.key][1] != mark:
                return KeyReusedError, index
            results.append(keys[write.key][0])
            continue
        version, fields = states.get(write.ad_id, (NEVER_CHANGED, {}))
        if write.if_version not in (None, version):
            return VersionConflictError, index
        change = (len(changes) + len(new) + 1, write.ad_id, {**fields, **write.fields})
        states[write.ad_id], keys[write.key] = (change[0], change[2]), (change, mark)
        new.append(change)
        results.append(change)
    return states, changes + new, keys, results


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_log_does_what_a_dict_and_a_list_do(store, request, tmp_path_factory):
    @settings(max_examples=25, deadline=None)
    @given(some.lists(some.lists(WRITES, max_size=4), max_size=6))
    def compare(appends):
        place = str(tmp_path_factory.mktemp("log") / "changes.db") if store == "sqlite" else \
            request.getfixturevalue("durable_redis").url
        index, states, changes, keys = secrets.token_hex(8), {}, [], {}
        for writes in appends:
            log = open_log(place, index)
            expected = appended(states, changes, keys, writes)
            if len(expected) == 2:
                with pytest.raises(expected[0]) as refused:
                    log.append(writes)
                assert refused.value.index == expected[1]
            else:
                states, changes, keys, results = expected
                assert [(made.sequence, made.ad_id, made.fields) for made in log.append(writes)] == results
            assert contents(log) == changes
            assert all(log.state(ad_id).sequence == version for ad_id, (version, _) in states.items())
            log.close()

    compare()
