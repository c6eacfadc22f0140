"""Bodies: what is declared, how large they are, and that compressed ones are refused."""

import gzip
import json
import zlib

import pytest

BODY = json.dumps({"user_id": "user-01", "top_k": 3}).encode()
JSON = "application/json"


def post(service, body, **headers):
    return service.http.post("/retrieve", content=body,
                             headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(("coding", "body"), [
    pytest.param("gzip", gzip.compress(BODY), id="gzip"), pytest.param("GZIP", gzip.compress(BODY), id="capitals"),
    pytest.param("deflate", zlib.compress(BODY), id="deflate"), pytest.param("br", b"\x0b\x10", id="brotli"),
    pytest.param("gzip", BODY, id="declared but plain"),
    pytest.param("identity, gzip", gzip.compress(BODY), id="two codings"),
    pytest.param("gzip", gzip.compress(bytes(10_000_000)), id="bomb")])
@pytest.mark.parametrize("path", ["/retrieve", "/explain"])
def test_body_is_refused_when_it_is_compressed(service, coding, body, path):
    reply = service.http.post(path, content=body, headers={"Content-Type": JSON, "Content-Encoding": coding})
    assert (reply.status_code, reply.json()["error_type"]) == (415, "unsupported_media_type")
    assert repr(coding) in reply.json()["message"]
    assert "without the header Content-Encoding" in reply.json()["help"]
    assert service.retrieve(user_id="user-01")["ads"]


def test_compressed_body_of_an_admin_call_is_refused(service):
    reply = service.http.post("/admin/bundles/load", content=gzip.compress(b'{"bundle": "x"}'),
                              headers={"Content-Type": JSON, "Content-Encoding": "gzip",
                                       "Authorization": "Bearer admin-token-of-the-tests"})
    assert (reply.status_code, reply.json()["error_type"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("headers", [{"Content_Type": JSON}, {"Content_Type": "Application/JSON; charset=utf-8"},
                                     {"Content_Type": JSON, "Content_Encoding": "identity"},
                                     {"Content_Type": JSON, "Content_Encoding": ""}])
def test_body_is_read_when_it_is_plain_json(service, headers):
    assert len(post(service, BODY, **headers).json()["ads"]) == 3


@pytest.mark.parametrize("declared", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_body_is_refused_when_it_is_not_declared_as_json(service, declared):
    reply = post(service, BODY, Content_Type=declared)
    assert (reply.status_code, reply.json()["error_type"]) == (415, "unsupported_media_type")
    assert repr(declared) in reply.json()["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_body_is_refused_when_it_is_too_large(service, chunked):
    def parts():
        for _ in range(300):
            yield b" " * 1024

    reply = post(service, parts() if chunked else b" " * 262_145, Content_Type=JSON)
    assert (reply.status_code, reply.json()["error_type"]) == (413, "body_too_large")
    assert "262144 bytes" in reply.json()["message"]
