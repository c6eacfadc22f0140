"""Ids, log lines and counters of requests, and HEAD."""

import pytest


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics", "/info", "/openapi.json"])
def test_head_gets_the_headers_of_get(service, path):
    head, get = service.http.head(path), service.http.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # which has counted one more request
        assert head.headers["content-length"] == get.headers["content-length"]


def test_head_is_refused_where_get_is(service):
    head = service.http.head("/retrieve")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")
    assert service.http.head("/nowhere").status_code == 404
    assert service.http.get("/livez").status_code == 200  # on the same connection: nothing was left in it


@pytest.mark.parametrize(("given", "kept"), [("abc-1:2_3.Z", True), ("x" * 64, True), ("x" * 65, False), ("a b", False),
                                             ("", False), ("ä", False)])
def test_id_of_the_client_is_kept_when_it_is_plain(service, given, kept):
    reply = service.http.get("/livez", headers={"X-Request-ID": given.encode()})
    assert (reply.headers["x-request-id"] == given) == kept
    assert reply.headers["x-request-id"]
    line = service.wait_until(lambda: next(
        (e for e in service.events if e.get("request_id") == reply.headers["x-request-id"]), None))
    assert (line["endpoint"], line["status"], line["error_type"]) == ("/livez", 200, None)
    assert line["ms"] > 0


def test_paths_are_counted_together_when_there_are_none_such(service):
    """A scanner must not fill the memory of the metrics."""
    counted = 'retrieval_requests_total{endpoint="other",error_type="not_found",status="404"}'
    before = service.metrics().get(counted, 0)
    for number in range(20):
        service.http.get(f"/wp-admin/{number}")
    assert service.metrics()[counted] == before + 20
