"""`python -m model follow`: what it is told, and what it says where it cannot begin."""

import pytest

from index_store.changes.sqlite_log import SqliteLog
from tests.model.commands import model
from tests.model.follow.logs import ad, written


@pytest.fixture
def bundles(tmp_path):
    (tmp_path / "bundles").mkdir()
    return tmp_path / "bundles"


def test_a_log_without_events_has_nothing_to_learn(bundles, tmp_path, followed_run):
    written(bundles / "changes.sqlite3", [ad("a001", status="paused")])
    arguments = ("follow", "--bundles", bundles, "--out", tmp_path / "out", "--once")
    assert model(*arguments, "--run", followed_run) == "the change log has no event after entry 0\n"
    assert model(*arguments) == "the change log has no event after entry 0\n"
    assert (tmp_path / "out" / "state.json").exists()


@pytest.mark.parametrize(("words", "says"), [
    ([], "how large a window is has to be said: give --events N, --every SECONDS, or --once"),
    (["--once"], "holds no follower yet; name the run that serves with --run"),
    (["--once", "--service", "http://127.0.0.1:1"], "RETRIEVAL_ADMIN_TOKEN is not set"),
    (["--once", "--run", "nowhere"], "nowhere holds no checkpoint yet"),
    (["--world", "w", "--events", "3"], "--events is given, but the windows of --world are its days"),
    (["--world", "w"], "--world needs --run"),
])
def test_what_is_missing_is_named_with_what_to_do(bundles, tmp_path, monkeypatch, words, says):
    monkeypatch.delenv("RETRIEVAL_ADMIN_TOKEN", raising=False)
    assert says in model("follow", "--bundles", bundles, "--out", tmp_path / "out", *words, code=1)


def test_a_folder_of_bundles_that_is_not_there_is_refused(tmp_path):
    said = model("follow", "--bundles", tmp_path / "none", "--out", tmp_path / "out", "--once", code=1)
    assert "none is not a folder; name the folder of bundles" in said


def test_the_log_of_another_place_is_read_and_its_errors_are_told(bundles, tmp_path, followed_run):
    SqliteLog(tmp_path / "other", "ads").close()
    arguments = ("follow", "--bundles", bundles, "--out", tmp_path / "out", "--run", followed_run, "--once", "--log")
    assert "no event after entry 0" in model(*arguments, tmp_path / "other")
    (tmp_path / "broken").write_text("no log")
    assert "cannot be opened" in model(*arguments, tmp_path / "broken", code=1)
