"""A root beside its bundle: the same answers, what is counted, and what is refused."""

import json

import pytest

from index_store.bundle.sharding import shard_bundle
from loadtest.__main__ import main
from loadtest.cluster.sharded import markdown, sharded
from tests.commands import run
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def root(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("roots") / "three"
    shard_bundle(tiny_bundle, 3, folder)
    return folder


def test_a_root_answers_as_its_bundle_and_everything_is_measured(tiny_bundle, root, tmp_path):
    done = run(main, "sharded", "--bundle", tiny_bundle, "--root", root, "--queries", "12", "--users", "4", "--out",
               tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert json.loads((tmp_path / "sharded.json").read_text()) == report
    assert (report["ads"], report["shards"], report["queries"], report["users"]) == (300, 3, 12, 4)
    assert report["same_answers"] == 12
    assert report["whole"]["overlap@100"] == report["root"]["overlap@100"] > 0
    assert report["whole"]["pairs"] == report["root"]["pairs"] > 0
    assert 1 <= report["shards_asked"] <= 3
    assert sum(report["shard_ads"]) == 300
    assert len(report["shard_bytes"]) == len(report["shard_private_bytes"]) == 3
    assert min(report["root_bytes"], *report["shard_bytes"], *report["shard_private_bytes"]) > 0
    assert "12 of 12 answers have the same ads" in (tmp_path / "sharded.md").read_text()


def test_without_users_nothing_is_compared_with_an_exhaustive_search(tiny_bundle, root):
    report = sharded(tiny_bundle, root, queries=3, users=0)
    assert report["root"]["overlap@100"] is report["shards_asked"] is None
    assert "| root " in markdown(report)


def test_a_root_of_another_bundle_is_refused(root, tmp_path):
    other = tmp_path / "other"
    write_tiny_bundle(other, seed=7)
    done = run(main, "sharded", "--bundle", other, "--root", root)
    assert done.returncode == 1
    assert "says it was made of bundle" in done.stderr
    assert "give the root that `python -m index_store shard` made of this bundle" in done.stderr


def test_no_query_is_refused(tiny_bundle, root):
    done = run(main, "sharded", "--bundle", tiny_bundle, "--root", root, "--queries", "0")
    assert done.returncode == 2
    assert "0 users leave nothing to time; give at least 1" in done.stderr


def test_a_bundle_is_no_root(tiny_bundle):
    done = run(main, "sharded", "--bundle", tiny_bundle, "--root", tiny_bundle)
    assert done.returncode == 1
    assert "shards.json: is missing" in done.stderr
