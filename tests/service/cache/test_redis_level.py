"""Redis dead, frozen, absent, locked or clustered: no request fails, and replies, log and metrics tell why."""

import contextlib
import itertools
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from loadtest.processes.redis_server import RedisServer, free_port
from tests.service.cache.redis_cluster import cluster, cluster_port
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle

FAILED_GETS = 'retrieval_redis_failures_total{operation="get",reason="other"}'
FAILED_SETS = 'retrieval_redis_failures_total{operation="set",reason="other"}'
REFUSED_GETS = 'retrieval_redis_failures_total{operation="get",reason="authentication"}'
CLUSTER_GETS = 'retrieval_redis_failures_total{operation="get",reason="cluster"}'
numbers = itertools.count()


def ask_somebody_new(process):
    """An answer for features that no cache has seen."""
    return process.retrieve(user_id="u", user_features={"age": next(numbers) / 8})


def recovered(process):
    """Whether Redis took part in an answer again."""
    return ask_somebody_new(process)["degraded"] == []


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory):
    """A Redis that each test leaves as it found it: running, and taking writes."""
    with RedisServer.start(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture(scope="module")
def running(shared_redis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("running") / "bundle"
    write_tiny_bundle(folder)
    with ServiceProcess(folder, REDIS_URL=shared_redis.url, RETRIEVAL_REDIS_PAUSE_SECONDS="0.05",
                        RETRIEVAL_REDIS_TIMEOUT_MS="4000", RETRIEVAL_USER_CACHE_ENTRIES="1") as process:
        yield process


@pytest.fixture
def process(running):
    """A service that keeps one user in memory and gives up on Redis for a moment only; Redis takes part."""
    running.wait_until(lambda: recovered(running))
    return running


def test_requests_are_answered_when_redis_is_killed_and_comes_back(shared_redis, process):
    shared_redis.kill()
    replies = [ask_somebody_new(process) for _ in range(30)]
    assert {(*reply["degraded"], reply["user_cache"]) for reply in replies} == {("redis", "miss")}
    assert all(len(reply["ads"]) == 10 for reply in replies)
    shared_redis.launch()
    process.wait_until(lambda: recovered(process))
    process.wait_until(shared_redis.client.dbsize)
    assert {"redis_unavailable", "redis_recovered"} <= {event["event"] for event in process.events}
    assert process.metrics()['retrieval_degraded_total{reason="redis"}'] >= 30


def test_requests_are_answered_when_redis_is_frozen_and_thaws(shared_redis, process):
    shared_redis.freeze()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask_somebody_new(process), range(40)))
    assert all(reply["degraded"] == ["redis"] and len(reply["ads"]) == 10 for reply in replies)
    shared_redis.thaw()
    process.wait_until(lambda: recovered(process))


def test_redis_is_left_alone_when_it_has_just_failed(own_redis, fresh_bundle):
    with ServiceProcess(fresh_bundle, REDIS_URL=own_redis.url, RETRIEVAL_REDIS_PAUSE_SECONDS="1000") as process:
        own_redis.freeze()
        for _ in range(10):
            assert ask_somebody_new(process)["degraded"] == ["redis"]
        metrics = process.metrics()
        assert metrics[FAILED_GETS] == 1
        assert metrics["retrieval_redis_dropped_writes_total"] >= 9


def test_request_waits_no_longer_than_its_deadline_allows_when_redis_is_frozen(own_redis, fresh_bundle):
    with ServiceProcess(fresh_bundle, REDIS_URL=own_redis.url, RETRIEVAL_REDIS_TIMEOUT_MS="600000") as process:
        own_redis.freeze()
        reply = process.retrieve(user_id="user-01", timeout_ms=8000)  # of which it waits half
        assert ("redis" in reply["degraded"], len(reply["ads"])) == (True, 10)
        assert process.metrics()[FAILED_GETS] == 0
        own_redis.thaw()


def test_known_embedding_is_used_when_redis_is_dead(shared_redis, process):
    process.retrieve(user_id="user-01")
    shared_redis.kill()
    reply = process.retrieve(user_id="user-01")
    assert (reply["user_cache"], reply["degraded"]) == ("local", [])
    shared_redis.launch()


def test_hits_go_on_when_redis_takes_no_writes(shared_redis, process):
    process.wait_until(lambda: recovered(process) and process.retrieve(user_id="user-02")["user_cache"] == "redis")
    failed, size = process.metrics()[FAILED_SETS], shared_redis.client.dbsize()
    shared_redis.client.config_set("maxmemory", 1)
    assert ask_somebody_new(process)["degraded"] == []
    process.wait_until(lambda: process.metrics()[FAILED_SETS] > failed)
    reply = process.retrieve(user_id="user-02")
    assert (reply["user_cache"], reply["degraded"]) == ("redis", [])
    shared_redis.client.config_set("maxmemory", 0)
    process.wait_until(lambda: ask_somebody_new(process) and shared_redis.client.dbsize() > size)


@contextlib.contextmanager
def impostor(answer):
    """The URL of a server that is no Redis: it sends `answer(received)`, and hangs up where that is empty."""
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                while (received := self.request.recv(1000)) and (said := answer(received)):
                    self.request.sendall(said)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://:hunter2@127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


def test_requests_are_answered_when_something_else_listens(fresh_bundle):
    says = [b""]
    with (impostor(lambda _: says[0]) as url,
          ServiceProcess(fresh_bundle, REDIS_URL=url, RETRIEVAL_REDIS_PAUSE_SECONDS="0") as process):
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$-5\r\n", b"\xff" * 100, b"-NOAUTH no\r\n", b""):
            says[0] = answer
            assert [ask_somebody_new(process)["degraded"] for _ in range(3)] == [["redis"]] * 3
        assert process.metrics()[FAILED_GETS] + process.metrics()[REFUSED_GETS] == 15
    assert "hunter2" not in "".join(process.lines)


def test_running_request_is_answered_when_the_service_is_told_to_stop(fresh_bundle):
    asked, answered = threading.Event(), threading.Event()

    def hold(received):
        if b"GET" not in received:  # what a client says when it connects
            return b"+OK\r\n" * received.count(b"*")
        asked.set()
        answered.wait()
        return b""

    with (impostor(hold) as url, ThreadPoolExecutor() as pool,
          ServiceProcess(fresh_bundle, REDIS_URL=url, RETRIEVAL_REDIS_TIMEOUT_MS="1500") as process):
        reply = pool.submit(ask_somebody_new, process)
        assert asked.wait(30)
        assert process.stop() == 0
        answered.set()
        assert reply.result()["degraded"] == ["redis"]


def test_service_starts_when_redis_was_never_there(tiny_bundle):
    url = f"redis://somebody:hunter2@127.0.0.1:{free_port()}/0"
    with ServiceProcess(tiny_bundle, REDIS_URL=url) as process:
        assert ask_somebody_new(process)["degraded"] == ["redis"]
        assert process.http.get("/readyz").status_code == 200
    assert "hunter2" not in "".join(process.lines)


def reasons(process):
    """The reasons of all `redis_unavailable` lines, in order."""
    return [event["reason"] for event in process.events if event["event"] == "redis_unavailable"]


def test_service_works_again_when_the_password_is_rotated(own_redis, fresh_bundle, tmp_path):
    password = tmp_path / "password"
    password.write_text("hunter2, with 100% of /?#[]@ and ü\n", encoding="utf-8")
    own_redis.client.config_set("requirepass", "hunter2, with 100% of /?#[]@ and ü")
    with ServiceProcess(fresh_bundle, REDIS_URL=own_redis.url, RETRIEVAL_REDIS_PASSWORD_FILE=str(password),
                        RETRIEVAL_REDIS_PAUSE_SECONDS="0.05", RETRIEVAL_REDIS_TIMEOUT_MS="30000") as process:
        assert ask_somebody_new(process)["degraded"] == []
        assert process.metrics()[REFUSED_GETS] == 0  # there from the start, so that the first failure is a rise
        own_redis.client.config_set("requirepass", "swordfish")
        own_redis.client.execute_command("AUTH", "swordfish")
        own_redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        process.wait_until(lambda: ask_somebody_new(process)["degraded"] == ["redis"]
                           and process.metrics()[REFUSED_GETS])
        process.wait_until(lambda: "authentication" in reasons(process))
        password.unlink()  # as while somebody replaces it
        assert ask_somebody_new(process)["degraded"] == ["redis"]
        password.write_text("swordfish")
        process.wait_until(lambda: recovered(process))
    log = "".join(process.lines)
    assert "hunter2" not in log
    assert "swordfish" not in log


def test_service_degrades_and_names_the_reason_when_redis_turns_out_to_be_a_cluster(fresh_bundle, tmp_path):
    port = cluster_port()
    with (ServiceProcess(fresh_bundle, REDIS_URL=f"redis://127.0.0.1:{port}/0", RETRIEVAL_REDIS_PAUSE_SECONDS="0",
                         RETRIEVAL_REDIS_TIMEOUT_MS="500") as process):
        assert ask_somebody_new(process)["degraded"] == ["redis"]
        process.wait_until(lambda: reasons(process) == ["other"])
        with cluster(tmp_path, port):
            process.wait_until(lambda: len(ask_somebody_new(process)["ads"]) == 10 and process.metrics()[CLUSTER_GETS])
            process.wait_until(lambda: "cluster" in reasons(process))
