"""Shards as processes, and their address book."""

import os

import pytest

from index_store.bundle.sharding import shard_bundle
from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.shard_processes import running_shards
from service.shards.address_book import AddressBook


def test_each_shard_listens_where_the_address_book_says_and_ends_with_the_block(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    with running_shards(tmp_path / "root", 2, tmp_path, os.environ) as (path, running):
        book = AddressBook(path)
        assert [f"{host}:{port}" for number in range(2) for host, port in book.addresses(number)] == [
            shard.address for shard in running]
        assert not any(shard.has_ended() for shard in running)
    assert all(shard.has_ended() for shard in running)


def test_the_reason_is_given_when_a_shard_cannot_start(tmp_path):
    with (pytest.raises(ProcessEndedError, match="is not a folder"),
          running_shards(tmp_path / "nowhere", 1, tmp_path, os.environ)):
        pass
