"""Requests that must be refused: each with the right status and type, both values, and what to do."""

import json

import pytest

from service.contract.errors import STATUS, ErrorType

MILLION = b"[" + b"1," * 1_000_000 + b"1]"


def refused(response, error_type):
    """The refusal's body, once it is checked to be one of the closed list."""
    body = response.json()
    assert set(body) == {"error_type", "message", "help"}, response.text
    assert body["error_type"] == error_type, body
    assert response.status_code == STATUS[ErrorType(error_type)]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert body["message"]
    assert body["help"]
    return body


def post(service, body):
    return service.http.post("/retrieve", content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(("field", "value", "error_type", "said"), [
    ("user_id", "", "invalid_value", "is empty"),
    ("user_id", "x" * 129, "invalid_value", "129 bytes"),
    ("user_id", "ü" * 65, "invalid_value", "130 bytes"),
    ("user_id", "a\0b", "invalid_value", "NUL"),
    ("user_id", 4.2, "wrong_type", "4.2"),
    ("user_id", None, "missing_field", "the request has no user_id"),
    ("top_k", 0, "invalid_value", "top_k is 0"),
    ("top_k", -1, "invalid_value", "top_k is -1"),
    ("top_k", 1001, "invalid_value", "top_k is 1001, above this service's limit of 1000"),
    ("top_k", 10**18, "invalid_value", "limit of 1000"),
    ("top_k", 10**30, "wrong_type", "1e+30"),
    ("top_k", "10", "wrong_type", 'top_k is "10", text'),
    ("top_k", True, "wrong_type", "top_k is true, a boolean"),
    ("top_k", 10.0, "wrong_type", "top_k is 10.0"),
    ("top_k", [10], "wrong_type", "top_k is [10]"),
    ("beam_width", 0, "invalid_value", "beam_width is 0"),
    ("beam_width", -3, "invalid_value", "beam_width is -3"),
    ("beam_width", 10_001, "invalid_value", "beam_width is 10001, above this service's limit of 10000"),
    ("beam_width", "5", "wrong_type", 'beam_width is "5"'),
    ("beam_width", True, "wrong_type", "beam_width is true"),
    ("beam_width", 2.5, "wrong_type", "beam_width is 2.5"),
    ("beam_width", [5, 0], "invalid_value", "beam_width[1] is 0"),
    ("beam_width", [5, "6"], "wrong_type", "beam_width"),
    ("beam_width", [5, 10_001], "invalid_value", "10001"),
    ("beam_width", [5], "invalid_value", "lists 1 numbers, the tree has 2"),
    ("beam_width", [5, 5, 5], "invalid_value", "lists 3 numbers, the tree has 2"),
    ("beam_width", [], "invalid_value", "lists 0 numbers"),
    ("exact", 1, "wrong_type", "exact is 1"),
    ("exact", "true", "wrong_type", "exact"),
    ("task_weights", {"clicks": 1}, "unknown_task", '"clicks"'),
    ("task_weights", {"click": -1}, "invalid_value", "task_weights.click is -1"),
    ("task_weights", {"click": 1e7}, "invalid_value", "task_weights.click is 10000000"),
    ("task_weights", {"click": "1"}, "wrong_type", "task_weights.click"),
    ("task_weights", {"click": True}, "wrong_type", "task_weights.click is true"),
    ("task_weights", {"click": None}, "wrong_type", "task_weights.click is null"),
    ("task_weights", {"click": 0, "convert": 0}, "invalid_value", "every score would be 0"),
    ("task_weights", [1, 0], "wrong_type", "task_weights is [1,0], a list"),
    ("exclude_ad_ids", "ad-0001", "wrong_type", "exclude_ad_ids"),
    ("exclude_ad_ids", ["a", 1.5], "wrong_type", "exclude_ad_ids[1] is 1.5"),
    ("exclude_ad_ids", ["a", True], "wrong_type", "exclude_ad_ids[1] is true"),
    ("exclude_ad_ids", [""], "invalid_value", "is empty"),
    ("exclude_ad_ids", list(range(10_001)), "invalid_value", "10001, above this service's limit of 10000"),
    ("user_features", [1], "wrong_type", "user_features is [1], a list"),
    ("user_features", {"height": 1}, "unknown_feature", "'height'"),
    ("user_features", {"age": "old"}, "invalid_feature", "'old'"),
    ("user_features", {"age": True}, "invalid_feature", "True"),
    ("user_features", {"age": [1]}, "invalid_feature", "[1]"),
    ("user_features", {"age": 1e300}, "invalid_feature", "1e+300"),
    ("user_features", {"country": 1.5}, "invalid_feature", "1.5"),
    ("user_features", {"country": ["x"]}, "invalid_feature", "'x'"),
    ("user_features", {"country": "x" * 200}, "invalid_feature", "200 bytes"),
    ("user_features", {"country": {"x" * 50_000: 1}}, "invalid_feature", "country"),
    ("user_features", {"interests": "interest-1"}, "invalid_feature", "interests"),
    ("user_features", {"interests": [["nested"]]}, "invalid_feature", "nested"),
    ("user_features", {"interests": list(range(1001))}, "invalid_feature", "1001 values"),
    ("user_features", {"history": "ad-0001"}, "invalid_feature", "history"),
    ("user_features", {"history": None}, "invalid_feature", "history"),
    ("user_features", {"history": [1.5]}, "invalid_feature", "1.5"),
    ("user_features", {"history": list(range(1001))}, "invalid_feature", "1001 values"),
    ("timeout_ms", 0, "invalid_value", "timeout_ms is 0"),
    ("timeout_ms", -5, "invalid_value", "timeout_ms is -5"),
    ("timeout_ms", 0.5, "invalid_value", "timeout_ms is 0.5, below this service's floor of 2"),
    ("timeout_ms", "5", "wrong_type", 'timeout_ms is "5"'),
    ("timeout_ms", True, "wrong_type", "timeout_ms is true"),
    ("target_overlap", 0, "invalid_value", "target_overlap is 0"),
    ("target_overlap", 1.01, "invalid_value", "target_overlap is 1.01"),
    ("target_overlap", "0.9", "wrong_type", "target_overlap"),
    ("budget_ms", 0, "invalid_value", "budget_ms is 0"),
    ("budget_ms", [1], "wrong_type", "budget_ms"),
    ("explain", 1, "wrong_type", "explain is 1"),
    ("explore", 0.6, "invalid_value", "explore is 0.6"),
    ("explore", -0.1, "invalid_value", "explore is -0.1"),
    ("explore", "0.1", "wrong_type", 'explore is "0.1"'),
    ("max_per", {"brand": 0}, "invalid_value", "max_per.brand is 0"),
    ("max_per", {"advertiser": -2}, "invalid_value", "max_per.advertiser is -2"),
    ("max_per", {"brand": True}, "wrong_type", "max_per.brand is true"),
    ("max_per", {"brand": 2.0}, "wrong_type", "max_per.brand is 2.0"),
    ("max_per", ["brand"], "wrong_type", "max_per is"),
    ("max_per", {"price": 2}, "invalid_value", "max_per caps 'price' at 2, but that is a dense ad field"),
    ("max_per", {"brand": 2, "tags": 3}, "invalid_value", "max_per caps 'tags' at 3, but that is a multi ad field"),
    ("max_per", {"campaign": 1}, "invalid_value", "cap some of category, brand, advertiser"),
])
def test_request_is_refused_when_one_field_is_bad(service, field, value, error_type, said):
    body = refused(service.http.post("/retrieve", json={"user_id": "user-01", field: value}), error_type)
    assert said in f"{body['message']}; {body['help']}"
    assert len(body["message"]) < 500


@pytest.mark.parametrize("fields", [{"target_overlap": 0.9, "beam_width": 5}, {"target_overlap": 0.9, "exact": True},
                                    {"budget_ms": 3, "beam_width": [1, 2]}, {"budget_ms": 3, "target_overlap": 0.9}])
def test_request_is_refused_with_both_names_when_it_asks_for_two_beams(service, fields):
    body = refused(service.http.post("/retrieve", json={"user_id": "user-01", **fields}), "invalid_value")
    assert all(name in body["message"] for name in fields)


def test_request_is_refused_when_the_user_id_is_missing(service):
    body = refused(post(service, b"{}"), "missing_field")
    assert body["message"] == "the request has no user_id"


@pytest.mark.parametrize("body", [b"", b"{", b"{'user_id': 'u'}", b'{"user_id": "u",}', b"\xff\xfe",
                                  b'{"user_id": "\\ud800"}', b'{"user_id": "u"} x', b"[" * 50_000,
                                  b'{"a":' * 20_000, b"[" * 5000 + b"]" * 5000])
def test_body_is_refused_when_it_is_no_json(service, body):
    refused(post(service, body), "malformed_json")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"nan"])
@pytest.mark.parametrize("body", [b'{"user_id": "u", "user_features": {"age": %s}}', b'{"user_id": "u", "top_k": %s}',
                                  b'{"user_id": "u", "task_weights": {"click": %s}}'])
def test_body_is_refused_when_a_number_is_not_finite(service, body, number):
    refused(post(service, body % number), "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1", b"true"])
def test_body_is_refused_when_it_is_no_object(service, body):
    refused(post(service, body), "wrong_type")


@pytest.mark.parametrize("depth", [10, 300, 1000])
def test_feature_is_refused_when_it_is_deeply_nested(service, depth):
    nested = b"[" * depth + b"]" * depth
    refused(post(service, b'{"user_id": "u", "user_features": {"interests": %s}}' % nested), "invalid_feature")
    refused(post(service, b'{"user_id": "u", "top_k": %s}' % nested), "wrong_type")


@pytest.mark.parametrize("chunked", [False, True])
def test_body_is_refused_when_it_is_over_the_limit(service, chunked):
    whole = b'{"user_id": "u", "user_features": {"interests": %s}}' % MILLION
    parts = (whole[at:at + 65536] for at in range(0, len(whole), 65536))
    body = refused(post(service, parts if chunked else whole), "body_too_large")
    assert "262144 bytes" in body["message"]
    assert service.retrieve(user_id="user-01")["ads"]


def test_body_is_read_when_it_is_just_under_the_limit(service):
    body = json.dumps({"user_id": "user-01"}).encode()
    assert post(service, body + b" " * (262_144 - len(body))).status_code == 200
    refused(post(service, body + b" " * (262_145 - len(body))), "body_too_large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""])
def test_body_is_refused_when_it_is_not_declared_as_json(service, content_type):
    response = service.http.post("/retrieve", content=b'{"user_id": "u"}', headers={"Content-Type": content_type})
    assert "Content-Type: application/json" in refused(response, "unsupported_media_type")["help"]


def test_body_is_read_when_json_is_declared_with_a_charset(service):
    response = service.http.post("/retrieve", content=b'{"user_id": "u"}',
                                 headers={"Content-Type": "Application/JSON; charset=utf-8"})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/retrieve/", "/docs", "/a%00b", "/" + "x" * 5000])
def test_path_is_refused_when_there_is_none_such(service, path):
    refused(service.http.get(path), "not_found")


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/retrieve", "POST"), ("PUT", "/retrieve", "POST"),
                                                         ("POST", "/readyz", "GET, HEAD"),
                                                         ("DELETE", "/metrics", "GET, HEAD")])
def test_method_is_refused_when_the_path_has_another(service, method, path, allowed):
    response = service.http.request(method, path)
    assert allowed.replace(", ", " or ") in refused(response, "method_not_allowed")["help"]
    assert response.headers["allow"] == allowed


def test_refusal_is_counted_by_its_type_when_metrics_are_read(service):
    name = 'retrieval_requests_total{endpoint="/retrieve",error_type="unknown_task",status="422"}'
    before = service.metrics().get(name, 0)
    service.http.post("/retrieve", json={"user_id": "u", "task_weights": {"no": 1}})
    assert service.metrics()[name] == before + 1
