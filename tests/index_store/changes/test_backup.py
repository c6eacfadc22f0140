"""A rehearsal: a log is backed up while it is written to, lost, and restored into either store."""

import secrets
import sqlite3
import threading
from contextlib import closing

import pytest

from index_store.changes.backup import back_up, restore
from index_store.changes.change_log import NEVER_CHANGED, ChangeLogError, KeyReusedError, Kind, Write
from index_store.changes.open_log import open_existing_log, open_log

CHANGES = 2_500


@pytest.fixture
def places(tmp_path, durable_redis, own_durable_redis):
    """Where logs can be, by kind: two for each."""
    return {"sqlite": [str(tmp_path / "one.db"), str(tmp_path / "two.db")],
            "redis": [durable_redis.url, own_durable_redis.url]}


@pytest.mark.parametrize("before", ["sqlite", "redis"])
@pytest.mark.parametrize("after", ["sqlite", "redis"])
def test_a_restored_log_goes_on_where_the_backup_ended(places, tmp_path, before, after):
    index, file = secrets.token_hex(8), tmp_path / "backup.db"
    writes = [Write(kind=Kind.AD, id=f"a{number % 100}", fields={f"f{number % 3}": number / 3},
                    key=f"k{number}" if number % 2 else None) for number in range(CHANGES)]
    writes[5:9] = [Write(kind=kind, id=user, fields={"secret": 1}, key=f"{kind}{user}")
                   for kind in (Kind.USER, Kind.EVENT) for user in ("gone", "kept")]
    with closing(open_log(places[before][0], index)) as log:
        log.append(writes)
        log.forget("gone")
        stop = threading.Event()

        def write():
            while not stop.is_set():
                log.append(writes[:1])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            backed_up = back_up(log, file)
        finally:
            stop.set()
            writer.join()
        assert CHANGES < backed_up <= log.last()
        records = log.records(NEVER_CHANGED, backed_up)
        state = log.state(Kind.AD, "a99")
    kept = file.read_bytes()
    assert (b"eventkept" in kept, b"eventgone" in kept, b"usergone" in kept) == (True, False, False)
    assert restore(file, places[after][1]) == backed_up
    with closing(open_log(places[after][1], index)) as restored:
        assert restored.log_id == log.log_id
        assert restored.records(NEVER_CHANGED, 2 * CHANGES) == records
        assert restored.state(Kind.AD, "a99") == state
        assert restored.state(Kind.USER, "kept").fields == {"secret": 1}
        restored.forget("kept")
        assert [change.kind for change in restored.read(5, 5)] == ["erased"] * 4 + ["ad"]
        assert restored.append(writes[1:2]) == [records[1].change]
        with pytest.raises(KeyReusedError):
            restored.append([Write(kind=Kind.AD, id="a1", fields={}, key="k1")])
        version = restored.state(Kind.AD, "a0").sequence
        made, = restored.append([Write(kind=Kind.AD, id="a0", fields={}, if_version=version)])
        assert made.sequence == backed_up + 2
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("before", ["sqlite", "redis"])
@pytest.mark.parametrize("after", ["sqlite", "redis"])
@pytest.mark.parametrize("through", [7, 9])
def test_a_trimmed_log_is_restored_with_the_states_that_it_kept(places, tmp_path, before, after, through):
    index, file = secrets.token_hex(8), tmp_path / "backup.db"
    with closing(open_log(places[before][0], index)) as log:
        log.append([Write(kind=Kind.AD, id=f"a{number % 4}", fields={"n": number}) for number in range(7)])
        log.append([Write(kind=kind, id="u", fields={"n": 8}) for kind in (Kind.USER, Kind.EVENT)])
        log.trim(through)
        back_up(log, file)
        restore(file, places[after][1])
        with closing(open_log(places[after][1], index)) as restored:
            for found in (log, restored):
                assert (found.trimmed(), found.last()) == (through, 9)
                assert [change.sequence for change in found.read(through)] == list(range(through + 1, 10))
                assert [state.id for state in found.last_states(Kind.AD, 9)] == ["a3", "a0", "a1", "a2"]
                with pytest.raises(ChangeLogError, match=f"up to {through} were removed, and those after 0 are asked"):
                    found.read(0)
            assert restored.state(Kind.USER, "u") == log.state(Kind.USER, "u")
            assert restored.append([Write(kind=Kind.AD, id="a3", fields={}, if_version=4)])[0].sequence == 10
            assert restored.state(Kind.AD, "a3").fields == {"n": 3}


def test_an_empty_log_is_backed_up_and_restored(tmp_path):
    with closing(open_log(str(tmp_path / "one.db"), "ads")) as log:
        assert back_up(log, tmp_path / "backup.db") == 0
    assert restore(tmp_path / "backup.db", str(tmp_path / "two.db")) == 0
    with closing(open_existing_log(str(tmp_path / "two.db"), None)) as log:
        assert (log.index, log.last()) == ("ads", NEVER_CHANGED)


def test_nothing_is_written_when_the_log_is_damaged(tmp_path):
    with closing(open_log(str(tmp_path / "one.db"), "ads")) as log:
        log.append([Write(kind=Kind.AD, id="a", fields={})] * 5)
        with closing(sqlite3.connect(log.path, isolation_level=None)) as damage:
            damage.execute("DELETE FROM changes WHERE sequence = 3")
        with pytest.raises(ChangeLogError, match="change 3 is missing"):
            back_up(log, tmp_path / "backup.db")
    assert [path.name for path in tmp_path.iterdir()] == ["one.db"]


def test_what_is_there_is_not_replaced(tmp_path, durable_redis):
    file, index = tmp_path / "backup.db", secrets.token_hex(8)
    with closing(open_log(durable_redis.url, index)) as log:
        log.append([Write(kind=Kind.AD, id="a", fields={"bid": 1})])
        back_up(log, file)
        with pytest.raises(ChangeLogError, match=r"backup.db exists already"):
            back_up(log, file)
        with pytest.raises(ChangeLogError, match=r"backup.db exists already"):
            restore(file, str(file))
        with pytest.raises(ChangeLogError, match="has 1 changes already; restore into an empty log only"):
            restore(file, durable_redis.url)
        with pytest.raises(ChangeLogError, match="there is no change log at"):
            restore(tmp_path / "missing.db", str(tmp_path / "new.db"))
        assert log.last() == 1
