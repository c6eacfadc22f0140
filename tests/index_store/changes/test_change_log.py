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
    Kind,
    TrimmedError,
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
IDS = some.sampled_from(["a", "b", "ä:}"])
KEYS = some.sampled_from([None, None, "", "k", "=k"])
PARTS = {"id": IDS, "key": KEYS,
         "fields": some.dictionaries(some.sampled_from(["x", "y", "", "at", "id", "=n"]), VALUES, max_size=3)}
WRITES = (some.builds(Write, kind=some.sampled_from([Kind.AD, Kind.CAMPAIGN, Kind.USER]),
                      if_version=some.none() | some.integers(0, 6), **PARTS)
          | some.builds(Write, kind=some.just(Kind.EVENT), **PARTS))


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
    """A write about an ad, or of another kind, of one field, or of those in `fields`."""
    return Write(id=ad_id, **{"kind": Kind.AD, "fields": {"bid": 1}, **more})


def did(user_id, **more):
    """An event of a user."""
    return Write(kind=Kind.EVENT, id=user_id, fields={"ad_id": "a1"}, **more)


def contents(log):
    return [(change.sequence, change.id, dict(change.fields)) for change in log.read(NEVER_CHANGED)]


def test_a_new_log_is_empty(log):
    assert (log.last(), log.read(NEVER_CHANGED), log.state(Kind.AD, "a1")) == (NEVER_CHANGED, [], None)
    assert log.append([]) == []


def test_a_log_keeps_its_id_and_no_other_has_it(log, reopen, tmp_path):
    assert reopen().log_id == log.log_id
    other = open_log(str(tmp_path / "other.db"), "ads")
    assert len({log.log_id, other.log_id, ""}) == 3
    other.close()


def test_changes_are_read_as_they_were_written_and_merged(log, reopen):
    written = log.append([say("a1", fields={"bid": 1.25, "tags": [], "brand": None}), say("a2")])
    written += log.append([say("a1", fields={"bid": 2, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})])
    assert contents(log) == [
        (1, "a1", {"bid": 1.25, "tags": [], "brand": None}), (2, "a2", {"bid": 1}),
        (3, "a1", {"bid": 2, "tags": [], "brand": None, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})]
    other = reopen()
    assert other.read(NEVER_CHANGED) == written
    assert all(isinstance(change, Change) and change.at > 1.7e9 for change in written)
    assert [other.state(Kind.AD, ad) for ad in ("a1", "a2", "a3")] == [written[2], written[1], None]


def test_changes_of_one_append_build_on_each_other(log):
    made = log.append([say("a1", fields={"x": 1}), say("a1", fields={"y": 2}, if_version=1),
                       say("a1", fields={"x": 3}, if_version=2)])
    assert [dict(change.fields) for change in made] == [{"x": 1}, {"x": 1, "y": 2}, {"x": 3, "y": 2}]


@pytest.mark.parametrize(("expected", "found", "ad"), [(NEVER_CHANGED, 1, "a1"), (2, 1, "a1"), (1, 0, "a2")])
def test_nothing_is_written_when_a_version_differs(log, expected, found, ad):
    log.append([say("a1")])
    with pytest.raises(VersionConflictError) as refused:
        log.append([say("a3"), say("a4"), say(ad, if_version=expected), say("a5")])
    assert (refused.value.index, refused.value.id) == (2, ad)
    assert (refused.value.expected, refused.value.found) == (expected, found)
    assert (log.last(), log.state(Kind.AD, "a3")) == (1, None)
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


def test_an_ad_and_a_user_may_have_the_same_id_and_events_have_no_state(log, reopen):
    log.append([say("7", fields={"x": 1}), did("7"), say("7", kind=Kind.USER, fields={"y": 2}, if_version=0), did("7"),
                say("7", fields={"z": 3}, if_version=1)])
    assert [(change.kind, dict(change.fields)) for change in reopen().read(NEVER_CHANGED)] == [
        ("ad", {"x": 1}), ("event", {"ad_id": "a1"}), ("user", {"y": 2}), ("event", {"ad_id": "a1"}),
        ("ad", {"x": 1, "z": 3})]
    assert [log.state(kind, "7").sequence for kind in (Kind.AD, Kind.USER)] == [5, 3]


def test_a_repeated_event_is_told_by_its_key_alone(log):
    log.append([did("u", key="k")])
    assert [change.sequence for change in log.append([did("u"), did("u", key="k"), did("u")])] == [2, 1, 3]
    with pytest.raises(KeyReusedError):
        log.append([did("v", key="k")])
    with pytest.raises(ValueError, match="has no version"):
        did("u", if_version=0)


def test_states_of_many_are_read_at_once(log):
    made = log.append([say(f"ä{number}") for number in range(5)] + [say("ä1"), say("ä2", kind=Kind.USER)])
    assert log.states(Kind.AD, {"ä1", "ä2", "other"}) == {"ä1": made[5], "ä2": made[2]}
    assert log.states(Kind.USER, ["ä1", "ä2"]) == {"ä2": made[6]}
    assert log.states(Kind.AD, []) == {}


def test_a_forgotten_user_leaves_numbers_only(log, reopen):
    log.append([say("u", kind=Kind.USER, fields={"age": 31}, key="k"), did("u", key="k2"), say("u"), did("v")])
    forgotten = log.forget("u", key="f")
    assert (forgotten.sequence, forgotten.kind, forgotten.id, dict(forgotten.fields)) == (5, "forgotten", "u", {})
    assert [(change.kind, change.id, dict(change.fields)) for change in reopen().read(NEVER_CHANGED)] == [
        ("erased", "", {}), ("erased", "", {}), ("ad", "u", {"bid": 1}), ("event", "v", {"ad_id": "a1"}),
        ("forgotten", "u", {})]
    assert [change.sequence for page in (log.read(0, 1), log.read(1, 2)) for change in page] == [1, 2, 3]
    assert (log.state(Kind.USER, "u"), log.state(Kind.AD, "u").sequence) == (None, 3)
    assert log.forget("u", key="f") == forgotten
    for reused in (lambda: log.forget("v", key="f"), lambda: log.append([did("u", key="f")])):
        with pytest.raises(KeyReusedError):
            reused()
    new = say("u", kind=Kind.USER, fields={"city": "x"}, key="k", if_version=NEVER_CHANGED)
    assert [dict(change.fields) for change in log.append([new, did("u", key="k2")])] == [{"city": "x"}, {"ad_id": "a1"}]
    assert log.forget("nobody").sequence == 8


def test_what_a_forgotten_user_has_spent_stays(log, reopen):
    spent = {"campaign": 'Ä "{c}" 1', "spent_nanos": 2**53 + 1, "at": 7.25}
    log.append([did("u", noted=spent), did("u", noted={"campaign": "c"}), did("u"), did("v", noted=spent),
                Write(kind=Kind.USER, id="u", fields={"campaign": "a field of the user's"})])
    log.forget("u")
    for one in (log, reopen()):
        entries = one.read(NEVER_CHANGED)
        assert [(entry.kind, entry.id, dict(entry.fields)) for entry in entries] == [
            (Kind.ERASED, "", spent), (Kind.ERASED, "", {"campaign": "c"}), (Kind.ERASED, "", {}),
            (Kind.EVENT, "v", {"ad_id": "a1", **spent}), (Kind.ERASED, "", {}), (Kind.FORGOTTEN, "u", {})]


def test_what_is_noted_of_a_write_does_not_tell_it_from_a_repeated_one(log):
    first = log.append([did("u", key="k", noted={"spent_nanos": 5})])
    assert log.append([did("u", key="k", noted={"spent_nanos": 6})]) == first
    assert first[0].fields == {"ad_id": "a1", "spent_nanos": 5}


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
    with writer:  # and not by communicate(), which passes over what readline() has left in the buffer
        return [tuple(map(int, line.split())) for line in writer.stdout]


def start_writer(place, name, appends):
    return subprocess.Popen([sys.executable, "-m", "tests.index_store.changes.writer", *place, name, str(appends)],
                            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_pairs(log, acknowledged):
    """Every acknowledged append is there, once and whole, and numbers have no gaps; returns the number of appends."""
    changes = log.read(NEVER_CHANGED, 100_000)
    assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))
    pairs = {}
    for first, second in zip(changes[::2], changes[1::2], strict=True):
        name, number = first.id.rpartition("-")[0], first.fields["number"]
        assert (second.id, second.fields[name]) == ("shared", number)
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
    assert log.state(Kind.AD, "shared").fields == dict.fromkeys("abcd", 39)
    assert log.state(Kind.AD, "shared").sequence == 320


def test_no_change_is_lost_when_threads_write_by_version(log):
    def count(_):
        for _ in range(10):
            while True:
                state = log.state(Kind.AD, "a1")
                version, counted = (state.sequence, state.fields["counted"]) if state else (NEVER_CHANGED, 0)
                try:
                    log.append([say("a1", fields={"counted": counted + 1}, if_version=version)])
                    break
                except VersionConflictError:
                    pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert (log.state(Kind.AD, "a1").fields, log.last()) == ({"counted": 40}, 40)


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


class Model:
    """What a log does, by a list of entries: number, kind, id, fields, key and what the key stands for."""

    def __init__(self):
        self.entries = []

    def append(self, writes):
        """The entries of an append, or its error."""
        before, made = list(self.entries), []
        for index, write in enumerate(writes):
            mark = json.dumps((write.kind, write.id, write.fields), sort_keys=True)
            same = [entry for entry in self.entries if write.key is not None and entry[4] == write.key]
            if not same:
                version, fields = self.state(write.kind, write.id)
                if write.if_version not in (None, version):
                    self.entries = before
                    return VersionConflictError, index
                same = [(len(self.entries) + 1, write.kind, write.id, {**fields, **write.fields}, write.key, mark)]
                self.entries += same
            elif same[0][5] != mark:
                self.entries = before
                return KeyReusedError, index
            made += same
        return [entry[:4] for entry in made]

    def forget(self, user_id):
        erase = {("user", user_id), ("event", user_id)}
        self.entries = [(entry[0], "erased", "", {}, None, None) if entry[1:3] in erase else entry
                        for entry in self.entries]
        self.entries.append((len(self.entries) + 1, "forgotten", user_id, {}, None, None))

    def state(self, kind, subject):
        found = [entry for entry in self.entries
                 if entry[1:3] == (kind, subject) and kind in ("ad", "campaign", "user")]
        return (found[-1][0], found[-1][3]) if found else (NEVER_CHANGED, {})


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_log_does_what_a_list_does(store, request, tmp_path_factory):
    @settings(max_examples=25, deadline=None)
    @given(some.lists(some.lists(WRITES, max_size=4) | IDS, max_size=6))
    def compare(calls):
        place = str(tmp_path_factory.mktemp("log") / "changes.db") if store == "sqlite" else \
            request.getfixturevalue("durable_redis").url
        index, model = secrets.token_hex(8), Model()
        for call in calls:
            log = open_log(place, index)
            if isinstance(call, str):
                model.forget(call)
                log.forget(call)
            elif isinstance(expected := model.append(call), tuple):
                with pytest.raises(expected[0]) as refused:
                    log.append(call)
                assert refused.value.index == expected[1]
            else:
                assert [(made.sequence, made.kind, made.id, made.fields) for made in log.append(call)] == expected
            assert [(change.sequence, change.kind, change.id, change.fields) for change in log.read(NEVER_CHANGED)] == \
                [entry[:4] for entry in model.entries]
            for kind in (Kind.AD, Kind.CAMPAIGN, Kind.USER):
                found = log.states(kind, ["a", "b", "ä:}"])
                assert [(found[one].sequence, found[one].fields) if one in found else (NEVER_CHANGED, {})
                        for one in ("a", "b", "ä:}")] == [model.state(kind, one) for one in ("a", "b", "ä:}")]
            log.close()

    compare()


@pytest.mark.parametrize("page", [1, 3, 1_000])
def test_trimmed_log_keeps_order_numbers_states_and_versions(reopen, monkeypatch, page):
    for store in ("redis_log", "sqlite_log"):
        monkeypatch.setattr(f"index_store.changes.{store}._TRIMMED_AT_ONCE", page)
    log = reopen()
    log.append([Write(kind=Kind.AD, id="old", fields={"x": 1}, key="k1"),
                Write(kind=Kind.USER, id="u", fields={"y": 2}), Write(kind=Kind.EVENT, id="u", fields={"ad": "old"}),
                Write(kind=Kind.EVENT, id="gone", fields={}), Write(kind=Kind.AD, id="new", fields={"x": 3}, key="k2"),
                Write(kind=Kind.AD, id="old", fields={"z": 4}, key="k3")])
    log.forget("gone")  # 7
    log.append([Write(kind=Kind.AD, id="new", fields={"x": 8}), Write(kind=Kind.EVENT, id="u", fields={}, key="k9")])
    before = log.read(7)
    log.trim(7)
    log.trim(3)  # is no step back
    for opened in (log, reopen()):
        assert (opened.trimmed(), opened.last()) == (7, 9)
        assert opened.read(7) == before
        with pytest.raises(TrimmedError, match="up to 7 were removed, and those after 6 are asked for"):
            opened.read(6)
        assert opened.wait(0, 1)
        states = opened.states(Kind.AD, ["old", "new"])
        assert {name: (state.sequence, state.fields) for name, state in states.items()} == {
            "old": (6, {"x": 1, "z": 4}), "new": (8, {"x": 8})}
        assert opened.state(Kind.USER, "u").sequence == 2
    # The keys of trimmed entries are forgotten, those of others are not; versions hold.
    assert [change.sequence for change in log.append([
        Write(kind=Kind.EVENT, id="u", fields={}, key="k9"), Write(kind=Kind.AD, id="old", fields={"w": 5}, key="k3",
                                                                   if_version=6)])] == [9, 10]
    assert log.state(Kind.AD, "old").fields == {"x": 1, "z": 4, "w": 5}
    log.forget("u")
    assert log.state(Kind.USER, "u") is None
    log.trim(11)
    assert (log.last(), log.trimmed(), log.read(11)) == (11, 11, [])
    assert not log.wait(11, 0.01)
    assert log.append([Write(kind=Kind.AD, id="next", fields={})])[0].sequence == 12
    with pytest.raises(ChangeLogError, match="ends with change 12, so it cannot be trimmed up to 13"):
        log.trim(13)


@pytest.mark.parametrize("page", [2, 1_000])
def test_last_states_are_those_of_the_ads_that_did_not_change_later(reopen, monkeypatch, page):
    for store in ("redis_log", "sqlite_log"):
        monkeypatch.setattr(f"index_store.changes.{store}._PAGE", page)
    log = reopen()
    log.append([Write(kind=Kind.AD, id=f"a{number % 5}", fields={"n": number}) for number in range(1, 9)]
               + [Write(kind=Kind.USER, id="a4", fields={})])
    expected = [(4, "a4", {"n": 4}), (5, "a0", {"n": 5}), (6, "a1", {"n": 6})]
    for trim in (0, 4, 6):
        log.trim(trim)
        assert [(state.sequence, state.id, state.fields) for state in log.last_states(Kind.AD, 6)] == expected
    assert [state.id for state in log.last_states(Kind.USER, 9)] == ["a4"]
    assert not list(log.last_states(Kind.AD, 3))


def test_log_can_be_used_while_it_is_trimmed(reopen, monkeypatch):
    for store in ("redis_log", "sqlite_log"):
        monkeypatch.setattr(f"index_store.changes.{store}._TRIMMED_AT_ONCE", 10)
    log = reopen()
    log.append([Write(kind=Kind.AD, id=f"a{number % 7}", fields={"n": number}) for number in range(1_000)])
    with ThreadPoolExecutor(2) as pool:
        trimming = pool.submit(reopen().trim, 1_000)
        made = [log.append([Write(kind=Kind.AD, id="late", fields={"n": number})])[0].sequence for number in range(50)]
        trimming.result()
    assert made == list(range(1_001, 1_051))
    assert [change.sequence for change in log.read(1_000)] == made
    assert len(log.states(Kind.AD, [f"a{number}" for number in range(7)])) == 7
