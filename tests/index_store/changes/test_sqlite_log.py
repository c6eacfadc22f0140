"""The log in a SQLite file when things go wrong: a full disk, damage, another index, a file that was moved."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from index_store.changes.change_log import NEVER_CHANGED, ChangeLogError, Kind, Write
from index_store.changes.sqlite_log import SqliteLog
from tests.paths import ROOT

WIDE = {"text": "x" * 4_000}


@pytest.fixture
def log(tmp_path):
    opened = SqliteLog(tmp_path / "changes.db", "ads")
    yield opened
    opened.close()


def filled(log, changes=60):
    log.append([Write(kind=Kind.AD, id=f"a{number}", fields=WIDE) for number in range(changes)])


def test_log_is_refused_when_it_belongs_to_another_index(log):
    with pytest.raises(ChangeLogError, match="belongs to index 'ads', not 'offers'"):
        SqliteLog(log.path, "offers")


def test_nothing_is_written_when_the_disk_is_full(log):
    filled(log)
    pages = log._writer.execute("PRAGMA page_count").fetchone()[0]
    log._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(ChangeLogError, match=r"cannot be written .*full.*; free space on its disk"):
        filled(log)
    assert log.last() == 60
    log._writer.execute("PRAGMA max_page_count = 1000000")
    filled(log, 1)
    assert log.last() == 61


def test_what_was_acknowledged_is_there_when_files_could_not_grow_any_more(log):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    acknowledged = 0

    def write_on():
        nonlocal acknowledged
        while True:
            log.append([Write(kind=Kind.AD, id="a", fields={"x": "x" * 5_000})])
            acknowledged += 1

    try:
        with pytest.raises(ChangeLogError, match="cannot be written"):
            write_on()
        assert log.last() == acknowledged > 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.append([Write(kind=Kind.AD, id="a", fields={})])[0].sequence == acknowledged + 1
    assert len(log.read(0)) == acknowledged + 1


READER = """
import os, sys
from pathlib import Path
from index_store.changes.change_log import ChangeLogError, Kind, Write
from index_store.changes.sqlite_log import SqliteLog
if os.getuid() == 0:  # root may write everything
    os.setuid(65534)
log = SqliteLog(Path(sys.argv[1]), "ads")
print(log.last(), len(log.read(0)), log.wait(1, 1))
try:
    log.append([Write(kind=Kind.AD, id="a", fields={})])
except ChangeLogError as error:
    print(error)
"""


def test_a_log_is_read_but_not_written_when_it_may_not_be():
    with tempfile.TemporaryDirectory() as folder, closing(SqliteLog(Path(folder, "changes.db"), "ads")) as log:
        filled(log, 2)
        for file in Path(folder).iterdir():
            file.chmod(0o444)
        Path(folder).chmod(0o755)
        done = subprocess.run([sys.executable, "-c", READER, log.path], cwd=ROOT, capture_output=True, text=True,
                              timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 2 True\n")
    assert "cannot be written (attempt to write a readonly database); make the file and its folder writable" in \
        done.stdout


@pytest.mark.parametrize(("damage", "said"), [
    (lambda content: b"", "is not a change log"), (lambda content: b"not a database " * 400, "cannot be opened"),
    (lambda content: content[:len(content) // 2], "malformed"),
    (lambda content: content[:8192] + bytes(len(content) - 8192), "malformed"),
])
def test_log_is_refused_when_its_file_is_damaged(log, tmp_path, damage, said):
    filled(log)
    log.close()
    log.path.write_bytes(damage(log.path.read_bytes()))
    with pytest.raises(ChangeLogError, match=f"{said}.*; .*changes restore"):
        SqliteLog(log.path, "ads").read(NEVER_CHANGED)


def test_a_gap_is_told_when_changes_are_missing(log):
    filled(log, 5)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM changes WHERE sequence = 3")
    assert [change.sequence for change in log.read(3)] == [4, 5]
    with pytest.raises(ChangeLogError, match="change 3 is missing, the next one is 4"):
        log.read(1)


def test_a_change_is_refused_when_it_is_not_json(log):
    filled(log, 1)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as connection:
        connection.execute("UPDATE changes SET fields = '{half'")
    with pytest.raises(ChangeLogError, match=r"change 1 of kind 'ad' holds '{half'"):
        log.state(Kind.AD, "a0")


@pytest.mark.parametrize("replace", [lambda path, copy: path.unlink(), lambda path, copy: os.replace(copy, path),
                                     lambda path, copy: os.truncate(path, 0),
                                     lambda path, copy: os.truncate(path, 9_000)])
def test_an_open_log_is_refused_when_its_file_is_moved_or_cut(log, tmp_path, replace):
    filled(log, 1)
    shutil.copy(log.path, tmp_path / "copy")
    replace(log.path, tmp_path / "copy")
    for use in (log.last, lambda: filled(log, 1)):
        with pytest.raises(ChangeLogError, match="was moved or replaced while it was open; put that one back"):
            use()


def test_a_log_that_ends_before_what_was_read_is_neither_read_nor_written(log):
    filled(log, 5)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM changes WHERE sequence > 3")
    for use in (log.last, lambda: filled(log, 1), lambda: log.forget("u"), lambda: log.wait(0, 1)):
        with pytest.raises(ChangeLogError, match=r"ends with change 3, but 5 was read .* older one: put that one"):
            use()
    with closing(SqliteLog(log.path, "ads")) as restarted:
        assert restarted.last() == 3


def test_an_append_waits_for_another_writer_and_then_gives_up(log, monkeypatch):
    log._writer.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ChangeLogError, match=r"locked.*; end the process that keeps it locked"):
            filled(log, 1)
        assert log.last() == NEVER_CHANGED
    filled(log, 1)


def test_nothing_is_written_when_a_value_is_not_json(log):
    with pytest.raises(ValueError, match="JSON"):
        log.append([Write(kind=Kind.AD, id="a", fields={}), Write(kind=Kind.AD, id="a", fields={"bid": float("nan")})])
    assert log.last() == NEVER_CHANGED
    filled(log, 1)


def test_a_closed_log_says_so(log):
    log.close()
    with pytest.raises(ChangeLogError, match=r"closed.*; open it again"):
        log.last()
