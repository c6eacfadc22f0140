"""The place of the change log: a file or a Redis, by the setting or beside the bundles; opened when it is needed."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from index_store.changes import redis_server
from index_store.changes.change_log import ChangeLog, ChangeLogError
from index_store.changes.open_log import open_log, scheme_of
from service.settings import Settings, SettingsError, variable

INDEX = "ads"
"""Index that the log is about. Bundles do not name theirs, so each index needs a file, or a database of Redis, of its
own."""

BESIDE_BUNDLES = "changes.sqlite3"
"""Name of the log in a folder of bundles, where the setting names no other place."""


class LogPlace:
    """Where the change log is.

    Args:
        where: path of a file, or a URL, which may hold a password.
    """

    def __init__(self, where: SecretStr) -> None:
        self._where = where

    @classmethod
    def of(cls, settings: Settings) -> LogPlace | None:
        """The place that the settings name; None if there is no change log."""
        return None if settings.change_log is None else cls(settings.change_log)

    def exists(self) -> bool:
        """False for a file that nobody has written to yet, which counts as an empty log."""
        where = self._where.get_secret_value()
        return scheme_of(where) is not None or Path(where).exists()

    def open(self) -> ChangeLog:
        """Opens the log; a file is created if there is none.

        Raises:
            ChangeLogError: it cannot be opened.
        """
        return open_log(self._where.get_secret_value(), INDEX)


def with_log_beside(settings: Settings, bundles: Path | None) -> Settings:
    """The settings with a change log in the folder of bundles, if there is such a folder and they name no other.

    Raises:
        SettingsError: the place that they name can never be one.
    """
    if settings.change_log is None:
        if bundles is None:
            return settings
        beside = SecretStr(str(bundles.absolute() / BESIDE_BUNDLES))
        return settings.model_copy(update={"change_log": beside})
    where = settings.change_log.get_secret_value()
    if scheme_of(where) is None:
        path = Path(where).absolute()
        if path.is_dir() or not path.parent.is_dir():
            raise SettingsError(f"{variable('change_log')} as given cannot be used: it is neither a URL nor a file in "
                                "a folder that exists; name another place, or create the folder")
        return settings
    try:
        redis_server.connect(where).close()  # makes no connection, but reads the URL
    except ChangeLogError as error:
        raise SettingsError(f"{variable('change_log')} as given cannot be used: {error}") from error
    return settings
