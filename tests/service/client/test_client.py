"""The blocking client against the real service, and against one that drops connections."""

import socketserver
import threading

import pytest
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
    use_span,
)

from monn_hill import Client, DeadlineError, RefusedError
from tests.paths import ROOT
from tests.service.service_process import ServiceProcess
from tests.service.telemetry.otlp_receiver import OtlpReceiver


@pytest.fixture(scope="module")
def client(service):
    with Client(service.url, read_token="a secret", write_token="another secret") as client:
        yield client


def test_service_answers_when_it_is_asked(client, service):
    reply = client.retrieve(user_id="user-03", top_k=2)
    assert reply["ads"] == service.retrieve(user_id="user-03", top_k=2)["ads"]
    assert client.explain(user_id="user-03", ad_id=reply["ads"][0]["ad_id"])["rank"] == 1
    assert client.info() == service.http.get("/info").json()


def test_first_example_of_the_readme_runs(service, capsys):
    example = (ROOT / "service/client/README.md").read_text().split("```")[1].removeprefix("python")
    exec(example.replace("http://127.0.0.1:8080", service.url), {})
    ads, refusal = capsys.readouterr().out.splitlines()
    assert len(eval(ads)) == 3
    assert refusal.startswith("top_k is 0")


def test_refusal_has_the_words_of_the_service(client):
    with pytest.raises(RefusedError, match="422 invalid_value: top_k is 0") as caught:
        client.retrieve(user_id="user-03", top_k=0)
    assert (caught.value.error_type, caught.value.status) == ("invalid_value", 422)
    assert caught.value.help.startswith("top_k: ads to return")


@pytest.mark.parametrize("call", [
    lambda client: client.ads.get(7), lambda client: client.ads.put("7", features={}),
    lambda client: client.ads.patch("7", status="paused"), lambda client: client.ads.delete("7", if_version=1),
    lambda client: client.ads.batch([{"op": "delete", "ad_id": 7}]), lambda client: client.users.delete("7"),
    lambda client: client.users.put("7", features={}),
    lambda client: client.events([{"user_id": "7", "ad_id": "8", "type": "click"}])])
def test_writes_reach_the_service_that_takes_none(client, call):
    with pytest.raises(RefusedError, match="403 writes_disabled"):
        call(client)


def test_tokens_are_not_shown(client, service):
    assert repr(client) == f"Client('{service.url}')"
    assert "secret" not in repr(vars(client)) + repr(vars(client._http)) + repr(vars(client._caller))


class _Dropping(socketserver.StreamRequestHandler):
    """Hangs up on the first connection, has no room on the second, and answers on the third."""

    replies = (b"", b"429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
               b"200 OK\r\nContent-Length: 11\r\n\r\n{\"ads\": []}")

    def handle(self):
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                self.server.bodies += 1
        reply = self.replies[min(self.server.asked, 2)]
        self.server.asked += 1
        if reply:
            self.wfile.write(b"HTTP/1.1 " + reply)


def test_call_is_answered_when_connections_are_dropped_and_there_is_no_room_at_first():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Dropping) as server:
        server.asked = server.bodies = 0
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_address[1]}") as client:
                assert client.retrieve(user_id="7") == {"ads": []}
        finally:
            server.shutdown()
        assert server.bodies == 3


def test_deadline_error_has_the_reason_when_nobody_listens():
    with Client("http://127.0.0.1:9", timeout=1.0) as client, pytest.raises(DeadlineError, match="Connection refused"):
        client.retrieve(user_id="7")


def test_example_of_a_transport_passes_the_current_span_on(tiny_bundle):
    blocks = (ROOT / "service/client/README.md").read_text().split("```")
    (example,) = [block.removeprefix("python") for block in blocks if "class Traced" in block]
    caller = SpanContext(0xAF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, is_remote=False,
                         trace_flags=TraceFlags(TraceFlags.SAMPLED))
    with OtlpReceiver() as receiver, ServiceProcess(tiny_bundle, **receiver.environment()) as process:
        names = {"Client": Client}
        exec(example.replace("http://127.0.0.1:8080", process.url), names)
        with names["client"] as client, use_span(NonRecordingSpan(caller)):
            client.retrieve(user_id="user-03")
        root = receiver.wait_for(format_trace_id(caller.trace_id), "POST /retrieve")[-1]
        assert root.parent == format_span_id(caller.span_id)
