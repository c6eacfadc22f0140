"""What the Redis URL may ask for: passwords, options, TLS; what is refused at start, clusters among it."""

import asyncio
import contextlib
import socket
import socketserver
import ssl
import threading
import time
from urllib.parse import quote

import pytest
import trustme
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ResponseError,
)

from loadtest.processes.redis_server import RedisServer
from service.cache import redis_connection
from service.cache.redis_connection import check_redis, failure_reason, open_pool
from service.settings import Settings, SettingsError
from tests.service.cache.redis_cluster import SLOTS, cluster, cluster_port, wait_for_cluster
from tests.service.commands import service
from tests.service.service_process import ServiceProcess

PASSWORD = "hunter2"


@pytest.fixture
def patient(monkeypatch):
    """A check at start that waits for the server's answer, however busy the machine is."""
    monkeypatch.setattr(redis_connection, "_START_SECONDS", 60.0)


@pytest.fixture
def locked_redis(own_redis):
    """A Redis that wants a password."""
    own_redis.client.config_set("requirepass", PASSWORD)
    own_redis.client.auth(PASSWORD)
    return own_redis


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tls_in_front(redis_port, authority):
    """A port that speaks TLS with a certificate of the authority, and hands on to a Redis without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with (contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as client,
                  socket.create_connection(("127.0.0.1", redis_port)) as behind):
                threading.Thread(target=pump, args=(behind, client), daemon=True).start()
                pump(client, behind)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def uses(bundle, url, services=2):
    """Where the embedding of a user came from in one service and, the write done, in the next one; and its log."""
    found = []
    for _ in range(services):
        with ServiceProcess(bundle, REDIS_URL=url, RETRIEVAL_REDIS_TIMEOUT_MS="30000") as process:
            reply = process.retrieve(user_id="user-01")
            found.append((reply["user_cache"], reply["degraded"]))
    return found, "".join(process.lines)


def test_embeddings_are_shared_when_redis_wants_a_password(locked_redis, fresh_bundle):
    found, log = uses(fresh_bundle, f"redis://:{PASSWORD}@127.0.0.1:{locked_redis.port}/0")
    assert found == [("miss", []), ("redis", [])]
    assert PASSWORD not in log


def test_requests_are_answered_when_the_password_is_wrong(locked_redis, fresh_bundle):
    found, log = uses(fresh_bundle, f"redis://:n0t-this-0ne@127.0.0.1:{locked_redis.port}/0", services=1)
    assert found == [("miss", ["redis"])]
    assert "n0t-this-0ne" not in log


def test_embeddings_are_shared_over_tls(locked_redis, fresh_bundle, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with tls_in_front(locked_redis.port, authority) as port:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
        assert uses(fresh_bundle, f"{url}?ssl_ca_certs={tmp_path}/authority.pem")[0] == [("miss", []), ("redis", [])]
        # Nobody's authority: the certificate is refused, and with it the cache.
        assert uses(fresh_bundle, url, services=1)[0] == [("miss", ["redis"])]


def set_up(url, **others):
    """Settings with this Redis URL."""
    return Settings(REDIS_URL=url, **others)


def problem(url, **others):
    """The message of the SettingsError that a Redis URL must raise."""
    with pytest.raises(SettingsError, match=r"^REDIS_URL ") as raised:
        open_pool(set_up(url, **others), 1.0)
    return str(raised.value)


def problem_at_start(url, **others):
    """The message of the SettingsError that the check at start must raise."""
    with pytest.raises(SettingsError) as raised:
        check_redis(set_up(url, **others))
    return str(raised.value)


def answers(url, **others):
    """Whether a connection of the pool gets an answer to a read."""
    async def ask():
        async with Redis.from_pool(open_pool(set_up(url, **others), 60.0)) as client:
            return await client.get("no such key") is None

    return asyncio.run(ask())


def complaint_of(server):
    """What the server says to a command of no consequence; empty if it answers."""
    try:
        server.client.select(1)
    except ResponseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("character", "/?#[]")
def test_url_is_refused_and_the_password_is_not_shown_when_it_has_to_be_encoded(character):
    said = problem(f"redis://:hun{character}ter2@127.0.0.1:6379/0")
    assert "must be percent-encoded" in said
    assert "hun" not in said
    assert "ter2" not in said


def test_redis_answers_when_the_password_is_percent_encoded(own_redis):
    password = "a/b?c#d[e]f@g%h:i ü"
    own_redis.client.config_set("requirepass", password)
    assert answers(f"redis://:{quote(password, safe='')}@127.0.0.1:{own_redis.port}/0")


@pytest.mark.parametrize(("rest", "said"), [
    ("?nonsense=1", "its option nonsense is not one of those that can be used: db, "),
    ("?decode_responses=true", "its option decode_responses is not one of those"),
    ("?protocol=3", "its option protocol is not one of those"),
    ("?retry=3", "its option retry is not one of those"),
    ("?db=first", "its option db has a wrong value"),
    ("?db=-1", "its option db has a wrong value"),
    ("?db=", "its option db has a wrong value"),
    ("?socket_timeout=soon", "its option socket_timeout has a wrong value"),
    ("?max_connections=0", "its option max_connections has a wrong value"),
    ("?socket_keepalive=perhaps", "its option socket_keepalive has a wrong value"),
    ("?ssl_ca_certs=/authority.pem", "its option ssl_ca_certs needs rediss://"),
    ("/first", "other than the number of a database"),
    ("/0/1", "other than the number of a database"),
    ("?client_name=a@b", "must be percent-encoded"),
    ("?client_name=a%20b", "its option client_name has a wrong value"),
    ("?client_name=%C3%BC", "its option client_name has a wrong value"),
])
def test_url_is_refused_when_redis_could_never_be_used_with_it(rest, said):
    complaint = problem(f"redis://:hunter2@127.0.0.1:6379{rest}")
    assert said in complaint
    assert "hunter2" not in complaint


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis+cluster://127.0.0.1:6379", "redis://127.0.0.1:66000",
                                 "redis://127.0.0.1:0", "127.0.0.1:6379", "unix://", "unix://run/redis.sock",
                                 "unix://:hunter2@run/redis.sock", "unix://:6379/redis.sock"])
def test_url_is_refused_when_it_is_not_one_of_redis(url):
    assert problem(url)


@pytest.mark.parametrize(("url", "options"), [
    ("redis://127.0.0.1", {"host": "127.0.0.1"}),
    ("redis://127.0.0.1:6380/3", {"port": 6380, "db": 3}),
    ("redis://somebody:p%2Fw@127.0.0.1/", {"username": "somebody", "password": "p/w"}),
    ("redis://127.0.0.1?db=2&client_name=ads&max_connections=4&socket_timeout=0.5&socket_connect_timeout=2"
     "&socket_keepalive=no&health_check_interval=30",
     {"db": 2, "client_name": "ads", "socket_timeout": 0.5, "socket_connect_timeout": 2.0, "socket_keepalive": False,
      "health_check_interval": 30}),
    ("rediss://127.0.0.1?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/a.pem",
     {"ssl_cert_reqs": "none", "ssl_check_hostname": False, "ssl_ca_certs": "/a.pem"}),
    ("unix://ads:p%40w@/run/redis.sock", {"path": "/run/redis.sock", "username": "ads", "password": "p@w"}),
    ("unix:///run/redis.sock?db=1&password=p%40w", {"path": "/run/redis.sock", "db": 1, "password": "p@w"}),
])
def test_connections_have_the_options_of_the_url_when_all_are_sound(url, options):
    pool = open_pool(set_up(url), 1.0)
    found = pool.connection_kwargs
    assert {name: found[name] for name in options} == options
    assert pool.make_connection()


def test_start_is_refused_when_a_key_has_no_certificate():
    assert "ssl_keyfile needs ssl_certfile" in problem("rediss://127.0.0.1:6379/0?ssl_keyfile=/key.pem")
    assert "ssl_keyfile needs ssl_certfile" in problem("rediss://127.0.0.1:6379/0?ssl_keyfile=/key.pem&ssl_certfile=")


def test_start_is_refused_when_the_server_has_no_such_database(patient, own_redis):
    check_redis(set_up(f"redis://127.0.0.1:{own_redis.port}/15?client_name=ads"))
    said = problem_at_start(f"redis://127.0.0.1:{own_redis.port}/16")
    assert "the server refuses the connection (DB index is out of range); name a database that it has" in said


def test_refused_start_does_not_show_the_password_when_the_server_repeats_it(patient, tmp_path):
    with RedisServer.start(tmp_path, "--rename-command", "AUTH", "") as server:
        said = problem_at_start(f"redis://:hunter2@127.0.0.1:{server.port}/0")
        assert "the server refuses the connection (unknown command" in said
        assert "hunter2" not in said


def test_start_goes_on_when_what_the_server_refuses_may_pass(patient, locked_redis):
    check_redis(set_up(f"redis://:n0t-this-0ne@127.0.0.1:{locked_redis.port}/1"))
    locked_redis.client.execute_command("ACL", "SETUSER", "ads", "on", ">hunter2", "~*", "+get", "+set")
    check_redis(set_up(f"redis://ads:hunter2@127.0.0.1:{locked_redis.port}/1"))  # may neither SELECT nor CLUSTER INFO


def test_start_goes_on_when_the_server_is_busy_with_a_script(own_redis):
    own_redis.client.config_set("lua-time-limit", 1)
    with own_redis.client.client() as client:
        client.connection.send_command("EVAL", "while true do end", 0)
        while "BUSY" not in complaint_of(own_redis):
            pass
        check_redis(set_up(f"redis://127.0.0.1:{own_redis.port}/1"))
        own_redis.client.script_kill()


def test_start_goes_on_when_the_name_is_not_resolved(monkeypatch):
    resolved = threading.Event()

    def resolve(*_, **__):
        resolved.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    began = time.monotonic()
    check_redis(set_up("redis://redis.invalid:6379/0"))
    assert time.monotonic() - began < 30
    resolved.set()


def test_service_refuses_to_start_when_an_option_is_unknown(tiny_bundle):
    done = service(tiny_bundle, REDIS_URL="redis://:hunter2@127.0.0.1:6379/0?nonsense=1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: REDIS_URL as given cannot be used: its option nonsense")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


def test_start_is_refused_when_a_certificate_is_missing(tmp_path):
    said = problem_at_start(f"rediss://127.0.0.1:6379/0?ssl_ca_certs={tmp_path}/authority.pem")
    assert f"No such file or directory): ssl_ca_certs={tmp_path}/authority.pem" in said


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read (No such file or directory)"),
                                               (b"\n", "is empty"), (b"\xff", "is not UTF-8")])
def test_start_is_refused_when_the_password_file_is_unusable(tmp_path, content, said):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    complaint = problem_at_start("redis://127.0.0.1:6379/0", redis_password_file=tmp_path / "password")
    assert complaint.startswith(f"RETRIEVAL_REDIS_PASSWORD_FILE cannot be used: {tmp_path}/password {said}")


def test_two_passwords_are_refused_when_url_and_file_give_one_each(tmp_path):
    complaint = problem("redis://:hunter2@127.0.0.1/0", redis_password_file=tmp_path / "password")
    assert "REDIS_URL and RETRIEVAL_REDIS_PASSWORD_FILE both give a password" in complaint
    assert "hunter2" not in complaint


def test_user_of_the_url_gets_the_password_of_the_file_when_both_are_given(own_redis, tmp_path):
    own_redis.client.execute_command("ACL", "SETUSER", "ads", "on", ">hunter2", "~*", "+@all")
    own_redis.client.config_set("requirepass", "another")
    (tmp_path / "password").write_text("hunter2\r\n")
    assert answers(f"redis://ads@127.0.0.1:{own_redis.port}/0", redis_password_file=tmp_path / "password")


def test_start_goes_on_when_redis_does_not_answer(own_redis):
    own_redis.freeze()
    check_redis(set_up(own_redis.url))
    own_redis.thaw()
    own_redis.kill()
    check_redis(set_up(own_redis.url))


def test_service_refuses_to_start_when_redis_is_a_cluster(patient, tiny_bundle, tmp_path):
    with cluster(tmp_path) as (node, _):
        done = service(tiny_bundle, REDIS_URL=node.url)
        assert done.returncode == 2
        assert "a Redis Cluster with 2 masters" in done.stderr
        assert "name a Redis without cluster mode, or a proxy in front of the cluster" in done.stderr
        assert "a database other than 0" in problem_at_start(f"redis://127.0.0.1:{node.port}/1")


def test_redis_answers_when_one_node_holds_the_whole_cluster(patient, tmp_path):
    with RedisServer(tmp_path, cluster_port(), "--cluster-enabled", "yes") as node:
        node.launch()
        node.client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
        wait_for_cluster([node])
        check_redis(set_up(node.url))
        assert answers(node.url)


@pytest.mark.parametrize(("error", "reason"), [
    (AuthenticationError("invalid username-password pair"), "authentication"),
    (NoPermissionError("this user has no permissions to run the 'get' command"), "authentication"),
    (MovedError("3999 127.0.0.1:6381"), "cluster"),
    (ClusterDownError("Hash slot not served"), "cluster"),
    (ResponseError("SELECT is not allowed in cluster mode"), "cluster"),
    (MasterDownError("Link with MASTER is down"), "other"),
    (ResponseError("OOM command not allowed"), "other"),
    (TimeoutError(), "other"),
])
def test_failure_has_its_reason(error, reason):
    assert failure_reason(error) == reason
