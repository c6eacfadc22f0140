"""What the Redis URL may ask for: a password, and TLS that is checked against an authority of one's own."""

import contextlib
import socket
import socketserver
import ssl
import threading

import pytest
import trustme

from tests.service.service_process import ServiceProcess

PASSWORD = "hunter2"


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


def uses(bundle, url):
    """Where the embedding of a user came from in one service and, the write done, in the next one; and its log."""
    found = []
    for _ in range(2):
        with ServiceProcess(bundle, REDIS_URL=url, RETRIEVAL_REDIS_TIMEOUT_MS="5000") as process:
            reply = process.retrieve(user_id="user-01")
            found.append((reply["user_cache"], reply["degraded"]))
    return found, "".join(process.lines)


def test_embeddings_are_shared_when_redis_wants_a_password(locked_redis, fresh_bundle):
    found, log = uses(fresh_bundle, f"redis://:{PASSWORD}@127.0.0.1:{locked_redis.port}/0")
    assert found == [("miss", []), ("redis", [])]
    assert PASSWORD not in log


def test_requests_are_answered_when_the_password_is_wrong(locked_redis, fresh_bundle):
    found, log = uses(fresh_bundle, f"redis://:another@127.0.0.1:{locked_redis.port}/0")
    assert found == [("miss", ["redis"])] * 2
    assert "another" not in log


def test_embeddings_are_shared_over_tls(locked_redis, fresh_bundle, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with tls_in_front(locked_redis.port, authority) as port:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
        assert uses(fresh_bundle, f"{url}?ssl_ca_certs={tmp_path}/authority.pem")[0] == [("miss", []), ("redis", [])]
        # Nobody's authority: the certificate is refused, and with it the cache.
        assert uses(fresh_bundle, url)[0] == [("miss", ["redis"])] * 2
