"""The file of a log: it is there whole or not at all, and what else is refused."""

import sqlite3
import threading
from contextlib import closing

import pytest

from index_store.changes import sqlite_file
from index_store.changes.change_log import ChangeLogError


def changed(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_a_created_log_is_one_file_that_names_its_index(tmp_path):
    path = tmp_path / "a log #1.db"
    sqlite_file.create(path, "ads")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with closing(sqlite_file.connect(path)) as connection:
        assert sqlite_file.names_of(path, connection)[0] == "ads"
        assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")] == \
            ["wal", 2]


def test_one_wins_when_many_create_the_same_log(tmp_path):
    path, start = tmp_path / "changes.db", threading.Barrier(8)

    def create(index):
        start.wait()
        sqlite_file.create(path, index)

    threads = [threading.Thread(target=create, args=(f"ads-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(tmp_path.iterdir()) == [path]
    with closing(sqlite_file.connect(path)) as connection:
        assert sqlite_file.names_of(path, connection)[0].startswith("ads-")


@pytest.mark.parametrize(("statement", "said"), [
    ("PRAGMA application_id = 7", "is not a change log"),
    ("PRAGMA user_version = 1", "has format 1, .* reads format 3; .* delete it"),
    ("PRAGMA user_version = 4", "has format 4, .* reads format 3; use the version")])
def test_a_file_is_refused_when_it_is_another_kind(tmp_path, statement, said):
    path = tmp_path / "changes.db"
    sqlite_file.create(path, "ads")
    changed(path, statement)
    with closing(sqlite_file.connect(path)) as connection, pytest.raises(ChangeLogError, match=said):
        sqlite_file.names_of(path, connection)


def test_nothing_is_left_when_the_writer_of_a_whole_file_fails(tmp_path):
    def fail():
        with sqlite_file.whole_file(tmp_path / "new") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_no_log_is_created_beside_the_changes_of_another(tmp_path):
    (tmp_path / "changes.db-wal").write_bytes(b"changes that a killed process left")
    with pytest.raises(ChangeLogError, match=r"changes.db-wal is there, but not the change log .*; put that log back"):
        sqlite_file.create(tmp_path / "changes.db", "ads")
    assert [path.name for path in tmp_path.iterdir()] == ["changes.db-wal"]


def test_errors_say_what_to_do_when_the_folder_is_missing(tmp_path):
    with pytest.raises(ChangeLogError, match=r"cannot be created .*; make the file and its folder"):
        sqlite_file.create(tmp_path / "missing" / "changes.db", "ads")
