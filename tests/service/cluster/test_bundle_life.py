"""The life of sharded bundles: promotion, rollback, refusal and writes, over all shards at once."""

import json
import shutil
import threading

import pytest

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.pointer import Pointer
from index_store.bundle.sharding import shard_bundle
from tests.service.cluster.running_shards import ShardProcess, book_of
from tests.service.http.change_log_calls import TOKEN
from tests.service.service_process import ServiceProcess, command_line
from tests.tiny_bundle import write_tiny_bundle

USERS = [f"user-{number:02d}" for number in range(6)]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A service of a folder of two roots whose answers differ, with a process for each shard; and the folder."""
    folder = tmp_path_factory.mktemp("sharded")
    for seed, name in enumerate(("one", "two", "lost")):
        write_tiny_bundle(folder / "whole" / name, seed=seed)
        shard_bundle(folder / "whole" / name, 2, folder / "roots" / name)
    shutil.rmtree(folder / "roots" / "lost" / "shards" / "1")
    pointer.replace(folder / "roots", Pointer("one"), None)
    shards = [ShardProcess(folder / "roots", number) for number in range(2)]
    with ServiceProcess(folder / "roots", RETRIEVAL_SHARDS=str(book_of(folder / "book.json", *shards)),
                        RETRIEVAL_SHARD_TIMEOUT_MS="30000", RETRIEVAL_LOAD_SECONDS="20",
                        RETRIEVAL_WRITE_TOKEN=TOKEN) as service:
        yield service, folder / "roots"
    for shard in shards:
        shard.close()


def answers(service, **asked):
    return {user: [ad["ad_id"] for ad in service.retrieve(user_id=user, top_k=30, **asked)["ads"]] for user in USERS}


def test_no_answer_fails_or_mixes_bundles_when_they_are_swapped_under_load(sharded):
    service, roots = sharded
    expected = {}
    for name in ("one", "two"):
        service.load(name)
        expected[Bundle.open(roots / name).bundle_id] = answers(service)
    assert len({str(found) for found in expected.values()}) == 2
    problems, seen, ended = [], set(), threading.Event()

    def ask(user):
        while not ended.is_set():
            reply = service.http.post("/retrieve", json={"user_id": user, "top_k": 30})
            body = reply.json()
            if reply.status_code != 200 or body["degraded"]:
                problems.append(body)
            elif [ad["ad_id"] for ad in body["ads"]] != expected[body["bundle_id"]][user]:
                problems.append((user, body["bundle_id"], "mixed"))
            else:
                seen.add(body["bundle_id"])

    threads = [threading.Thread(target=ask, args=(user,)) for user in USERS[:2]]
    for thread in threads:
        thread.start()
    service.load("one")
    assert service.admin("/rollback", {}).status_code == 200
    service.load("one")
    ended.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert seen == set(expected)


def test_a_root_that_lacks_a_shard_is_refused_with_the_reason_and_the_former_one_serves_on(sharded):
    service, roots = sharded
    before = service.retrieve(user_id="user-01", top_k=5)["bundle_id"]
    refused = service.admin("/load", {"bundle": "lost", "force": True})
    assert refused.status_code == 409, refused.text
    said = refused.json()
    assert said["error_type"] == "bundle_refused"
    assert "shard 1 of 2 is not there" in said["message"]
    assert f"of root {Bundle.open(roots / 'lost').bundle_id} is not here" in said["message"]
    assert service.retrieve(user_id="user-01", top_k=5)["bundle_id"] == before


def test_writes_go_through_the_root_and_hold_across_shards(sharded):
    service, _ = sharded
    whole = [ad["ad_id"] for ad in service.retrieve(user_id="user-02", top_k=300)["ads"]]
    assert len(whole) == 300
    for ad in (whole[0], whole[-1]):
        written = service.http.patch(f"/ads/{ad}?wait=applied", json={"status": "paused"},
                                     headers={"authorization": f"Bearer {TOKEN}"})
        assert written.is_success, written.text
    left = service.retrieve(user_id="user-02", top_k=300)
    assert sorted(ad["ad_id"] for ad in left["ads"]) == sorted(whole[1:-1])
    assert (left["eligible"], left["degraded"]) == (298, [])


def test_a_root_without_shards_does_not_start_and_says_why(sharded, tmp_path):
    _, roots = sharded
    done = command_line(roots / "one", "--port", "0")
    assert done.returncode == 1
    assert "shards.json: is there: this is the root of 2 shards, and nothing says where they are" in done.stderr
    (tmp_path / "book.json").write_text('{"shards": [[], []]}')
    done = command_line(roots / "one", "--port", "0", RETRIEVAL_SHARDS=str(tmp_path / "book.json"),
                        RETRIEVAL_LOAD_SECONDS="1")
    assert done.returncode == 1
    assert '"bundle_refused"' in done.stderr, done.stderr
    (refused,) = [json.loads(line) for line in done.stderr.splitlines() if '"bundle_refused"' in line]
    assert "shards.json: shard 0 of 2 is not there: no address of it is known" in refused["reason"]
