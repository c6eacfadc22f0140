"""Where the change log is, by the settings and beside the bundles."""

import pytest
from pydantic import SecretStr

from index_store.changes.change_log import Kind, Write
from service.live.log_place import LogPlace, with_log_beside
from service.settings import Settings, SettingsError


def test_log_lies_beside_the_bundles_unless_the_settings_name_a_place(tmp_path):
    beside = with_log_beside(Settings(), tmp_path).change_log.get_secret_value()
    assert beside == str(tmp_path / "changes.sqlite3")
    named = Settings(change_log=str(tmp_path / "other"))
    assert with_log_beside(named, tmp_path).change_log.get_secret_value() == str(tmp_path / "other")


def test_there_is_no_log_when_a_single_bundle_is_served_and_none_is_named():
    assert LogPlace.of(with_log_beside(Settings(), None)) is None


@pytest.mark.parametrize("where", ["{folder}/nowhere/log", "{folder}"])
def test_place_is_refused_when_it_can_be_no_file(tmp_path, where):
    with pytest.raises(SettingsError, match="RETRIEVAL_CHANGE_LOG as given cannot be used: it is neither"):
        with_log_beside(Settings(change_log=where.format(folder=tmp_path)), None)


@pytest.mark.parametrize("where", ["mysql://u:s3cret@host/db", "redis://u:s3cret@host:6379/words",
                                   "redis://u:s3cret@host:6379/0?timeout=3"])
def test_place_is_refused_without_its_password_when_it_can_be_no_redis(where):
    with pytest.raises(SettingsError, match="RETRIEVAL_CHANGE_LOG as given cannot be used") as caught:
        with_log_beside(Settings(change_log=where), None)
    assert "s3cret" not in str(caught.value)


def test_redis_need_not_answer_yet():
    settings = Settings(change_log="redis://127.0.0.1:9/0")
    assert with_log_beside(settings, None) is settings
    assert LogPlace.of(settings).exists()


def test_file_is_created_when_it_is_opened_and_not_before(tmp_path):
    place = LogPlace(SecretStr(str(tmp_path / "log")))
    assert not place.exists()
    assert list(tmp_path.iterdir()) == []
    log = place.open()
    log.append([Write(kind=Kind.AD, id="a", fields={})])
    log.close()
    assert place.exists()
