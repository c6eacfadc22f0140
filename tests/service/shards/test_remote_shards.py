"""A root and real shard servers: answers are those of the whole bundle, and of the shards that are there."""

import asyncio
import re
import signal
import socket
import threading
import time

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.sharding import shard_bundle
from index_store.changes.change_log import Change, Kind
from index_store.live.users import FEATURES
from index_store.search.sharded_scorer import ShardItems, ShardsAwayError
from loadtest.bench.added import raw_features
from service.contract.query import Exploring, Query
from service.retrieval.retriever import Retriever
from service.shards.address_book import write_addresses
from service.shards.frames import Frame
from service.shards.frames import Kind as Said
from service.shards.remote_shards import RemoteShards, reached_shards
from tests.service.cluster.running_shards import ShardProcess, access, book_of, until

CLICK, BOTH = np.array([1, 0], np.float32), np.array([1, 0.5], np.float32)

ASKED = [{}, {"exact": True}, {"task_weights": BOTH}, {"user_id": b"nobody"}, {"top_k": 300},
         {"exclude_ad_ids": ["ad-0000", "ad-0012"]}, {"max_per": {"brand": 1}}, {"by_ecpm": True},
         {"by_ecpm": True, "floor": 2e5, "max_per": {"category": 2}},
         {"targeting": {"field": "category", "in": ["c3", "c4"]}},
         {"exploring": Exploring(share=0.3, below=50, seed=7)}]


def query(**asked):
    return Query(**{"user_id": b"user-05", "top_k": 20, "beam_width": (2, 4), "task_weights": CLICK} | asked)


def answer(retriever, snapshot=None, answer_by=None, **asked):
    return asyncio.run(retriever.retrieve(query(**asked), snapshot=snapshot, answer_by=answer_by))


@pytest.fixture
def whole(tiny_bundle):
    retriever = Retriever(Bundle.open(tiny_bundle))
    yield retriever
    retriever.close()


@pytest.fixture
def sharded(roots, listening, tmp_path):
    book = book_of(tmp_path / "book.json", listening(roots, 0), listening(roots, 1))
    retriever = Retriever(Bundle.open(roots / "two"), shards=access(book))
    yield retriever
    retriever.close()


@pytest.fixture
def mute():
    """Starts a server that says one thing on each connection once it is spoken to, and nothing more; its address."""
    opened = []

    def of(said):
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                opened.append(connection)
                connection.recv(1 << 16)
                connection.sendall(said)

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield of
    for one in opened:
        one.close()


def check_same(found, expected):
    assert found.ad_ids == expected.ad_ids
    np.testing.assert_allclose(found.found.scores, expected.found.scores, atol=1e-5)
    assert (found.found.eligible, found.found.pairs_scored) == (expected.found.eligible, expected.found.pairs_scored)
    assert (found.found.coverage, found.degraded) == (1.0, ())


@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_those_of_the_whole_bundle(whole, sharded, asked):
    check_same(answer(sharded, **asked), answer(whole, **asked))


def test_live_changes_hold_across_shards(whole, sharded):
    first = answer(whole).ad_ids
    changes = [Change(sequence=1, at=0.0, kind=Kind.AD, id=first[0], fields={"status": "paused"}),
               Change(sequence=2, at=0.0, kind=Kind.AD, id="new",
                      fields={FEATURES: raw_features(whole.bundle.content, 2)}),
               Change(sequence=3, at=0.0, kind=Kind.AD, id=first[1], fields={"bid": {"micros": 10**9, "type": "CPM"}})]
    for asked in ({}, {"by_ecpm": True}, {"exact": True}):
        found, expected = (answer(one, one.sealed.with_changes(changes), **asked) for one in (sharded, whole))
        check_same(found, expected)
        assert first[0] not in found.ad_ids
    assert first[1] == answer(sharded, sharded.sealed.with_changes(changes), by_ecpm=True).ad_ids[0]
    assert "new" in answer(sharded, sharded.sealed.with_changes(changes), exact=True, top_k=301).ad_ids


def test_explanations_are_those_of_the_whole_bundle(whole, sharded):
    for ad in ("ad-0000", "ad-0123"):
        found, expected = (answer(one, explain_ad=ad).explanation.of_search for one in (sharded, whole))
        assert (found.outcome, [step.node for step in found.path]) == (expected.outcome,
                                                                       [step.node for step in expected.path])


def test_a_replica_of_a_shard_takes_over_without_a_degraded_answer(whole, roots, listening, tmp_path):
    first, second = listening(roots, 0), listening(roots, 0)
    other = listening(roots, 1)
    book = tmp_path / "book.json"
    write_addresses(book, [[first.address, second.address], [other.address]])
    retriever = Retriever(Bundle.open(roots / "two"), shards=access(book))
    until(lambda: first.opened.roots and second.opened.roots)
    first.close()
    for _ in range(6):
        check_same(answer(retriever), answer(whole))
    retriever.close()


def test_a_shard_that_is_killed_or_frozen_degrades_answers_until_it_is_back(whole, roots, tmp_path):
    shards = [ShardProcess(roots, number) for number in range(2)]
    # One search waits for the frozen shard as long as this, and the next for the only connection to it, no other.
    retriever = Retriever(Bundle.open(roots / "two"), shards=access(book_of(tmp_path / "book.json", *shards),
                                                                    timeout=4.0, connections=1))
    try:
        expected = answer(whole, exact=True, top_k=300)
        for harm, mend in ((signal.SIGKILL, shards[1].start),
                           (signal.SIGSTOP, lambda: shards[1].signal(signal.SIGCONT))):
            check_same(answer(retriever, exact=True, top_k=300), expected)
            shards[1].signal(harm)
            for _ in range(3):
                found = answer(retriever, exact=True, top_k=300)
                assert (len(found.ad_ids), found.degraded, found.found.coverage) == (150, ("shard",), 0.5)
                assert set(found.ad_ids) < set(expected.ad_ids)
            began = time.perf_counter()
            answer(retriever)
            assert time.perf_counter() - began < 20
            with pytest.raises(ShardsAwayError, match="of 300 items cannot be scored"):
                retriever.scorer.score_alone(retriever.query(retriever.encode(query())), 3, np.arange(300))
            mend()
            until(lambda: not answer(retriever).degraded)
    finally:
        retriever.close()
        for shard in shards:
            shard.close()


def scores_of_both(reached, asked):
    """Logits of three items of each shard, of which the second one answers in time, however late the machine is."""
    connection, = reached._pools[1]._idle
    collect = reached.ask(asked, [ShardItems(0, np.arange(3)), ShardItems(1, np.arange(3))])
    until(lambda: connection.readable)
    return collect()


def test_a_search_waits_for_a_shard_no_longer_than_its_deadline(roots, tmp_path):
    shards = [ShardProcess(roots, number) for number in range(2)]
    reach = access(book_of(tmp_path / "book.json", *shards), timeout=300.0, connections=1)
    reached = RemoteShards(Bundle.open(roots / "two").bundle_id, 2, 2, reach)
    retriever = Retriever(Bundle.open(roots / "two"), shards=reach)
    try:
        asked = retriever.query(retriever.encode(query()))
        assert reached.missing(60.0) is None
        shards[0].signal(signal.SIGSTOP)
        asked.search_by = time.perf_counter() + 1
        late, scored = scores_of_both(reached, asked)
        assert late is None
        assert scored.shape == (3, 2)
        assert time.perf_counter() < asked.search_by + 60
        shards[0].signal(signal.SIGCONT)
        asked.search_by = time.perf_counter() + 60
        again, = reached.ask(asked, [ShardItems(0, np.arange(5))])()
        assert again.shape == (5, 2), "the late answer was taken for this one"
    finally:
        reached.close()
        retriever.close()
        for shard in shards:
            shard.close()


def test_a_shard_that_hangs_costs_the_others_neither_answers_nor_connections(whole, roots, listening, tmp_path, mute):
    book, other = tmp_path / "book.json", listening(roots, 1)
    write_addresses(book, [[mute(Frame(Said.OPENED).packed())], [other.address]])
    reached = RemoteShards(Bundle.open(roots / "two").bundle_id, 2, 2, access(book, timeout=300.0, connections=1))
    assert reached.missing(60.0) is None
    asked = whole.query(whole.encode(query()))
    for _ in range(3):  # the first takes the only connection to the mute one, the next wait for it in vain
        asked.search_by = time.perf_counter() + 1
        late, scored = scores_of_both(reached, asked)
        assert late is None
        assert scored.shape == (3, 2)
    reached.close()


def test_a_root_without_one_of_its_shards_is_refused_at_start(roots, listening, tmp_path):
    book, opened = tmp_path / "book.json", Bundle.open(roots / "two")
    write_addresses(book, [[], [listening(roots, 1).address]])
    with pytest.raises(BundleError, match="shards.json: shard 0 of 2 is not there: no address of it is known; start "
                                          f"it, or correct its address in {book}"):
        reached_shards(opened, access(book, opening=0.3))
    with pytest.raises(BundleError, match="this is the root of 2 shards, and nothing says where they are; name an "
                                          "address book in RETRIEVAL_SHARDS, or open bundle"):
        Retriever(opened)


@pytest.fixture
def lacks(roots):
    """Waits until a root whose shards are in an address book says of what is missing that it matches."""
    reached = []

    def of(book, said):
        reached.append(RemoteShards(Bundle.open(roots / "two").bundle_id, 2, 2, access(book)))
        until(lambda: re.fullmatch(said, reached[-1].missing(0.1) or ""))

    yield of
    for one in reached:
        one.close()


def test_the_first_shard_that_is_missing_is_told_with_the_reason(lacks, roots, listening, tmp_path):
    lacks(book_of(tmp_path / "book.json", listening(roots, 0)), "shard 1 of 2 is not there: no address of it is known")
    lacks(tmp_path / "none.json", r"shard 0 of 2 is not there: .*none.json cannot be read.*")


def test_shards_of_another_root_are_refused(lacks, tiny_bundle, listening, tmp_path):
    shard_bundle(tiny_bundle, 3, tmp_path / "roots" / "three")
    book = book_of(tmp_path / "book.json", listening(tmp_path / "roots", 0), listening(tmp_path / "roots", 1))
    lacks(book, r"shard 0 of 2 is not there: .* refuses: .*of root [0-9a-f]{16} is not here.*")


def test_a_whole_bundle_has_no_shards(tiny_bundle, tmp_path):
    assert reached_shards(Bundle.open(tiny_bundle), access(tmp_path / "none.json")) is None
