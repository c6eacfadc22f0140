"""How shards are reached, by the settings."""

from pathlib import Path

from service.settings import Settings
from service.shards.shard_access import ShardAccess


def test_access_is_what_the_settings_say(monkeypatch):
    assert ShardAccess.of(Settings()) is None
    for name, value in (("SHARDS", "/run/book.json"), ("SHARD_TIMEOUT_MS", "250"), ("LOAD_SECONDS", "20"),
                        ("SEARCH_THREADS", "3")):
        monkeypatch.setenv(f"RETRIEVAL_{name}", value)
    assert ShardAccess.of(Settings()) == ShardAccess(Path("/run/book.json"), 0.25, 10.0, 3)
    monkeypatch.setenv("RETRIEVAL_SHARDS", "")
    assert ShardAccess.of(Settings()) is None
