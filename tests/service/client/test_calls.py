"""Calls as HTTP requests: every documented one, with keys, parameters and deadlines."""

import json
import re
from typing import get_args

import pytest

from monn_hill import calls
from service.contract.ad_schemas import KEY_PATTERN, WriteOptions
from tests.paths import ROOT

QUERY = {"user_id": "7"}
CALLS = [calls.retrieve(QUERY), calls.retrieve_batch([QUERY]), calls.explain({**QUERY, "ad_id": 1}), calls.info(),
         calls.ad(1), calls.put_ad(1, {"features": {}}, "durable", None), calls.patch_ad(1, {}, "durable", None),
         calls.delete_ad(1, None, "durable", None), calls.batch_ads([], "durable", None),
         calls.events([], "durable", None), calls.put_user(1, {"features": {}}, "durable", None),
         calls.delete_user(1, "durable", None), calls.campaign(1),
         calls.put_campaign(1, {"daily_budget_micros": None, "currency": "EUR"}, "durable", None)]
NOT_CALLED = ("/admin/", "/changes", "/metrics", "/livez", "/readyz", "/startupz")


def test_every_documented_call_can_be_made_with_its_token_and_kind_of_body():
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    documented = {}
    for path, operations in paths.items():
        for method, operation in operations.items():
            if not path.startswith(NOT_CALLED):
                token = next(iter(operation.get("security", [{}])[0]), None)
                documented[method.upper(), re.sub(r"\{\w+\}", "1", path)] = (
                    token, next(iter(operation.get("requestBody", {}).get("content", {})), None))
    made = {(call.method, call.path): (call.scope and f"{call.scope} token", call.content and call.media_type)
            for call in CALLS}
    assert made == documented


def test_waits_and_keys_are_those_of_the_service():
    assert f"^{calls._KEY}$" == KEY_PATTERN
    assert set(get_args(calls.Wait)) == set(get_args(WriteOptions.model_fields["wait"].annotation))


@pytest.mark.parametrize(("own", "sent"), [({}, 900.0), ({"timeout_ms": 50}, 50), ({"timeout_ms": 5000}, 900.0),
                                           ({"timeout_ms": None}, 900.0)])
def test_service_gets_most_of_the_time_that_is_left_unless_the_query_asks_for_less(own, sent):
    assert json.loads(calls.retrieve({**QUERY, **own}).content(1.0)) == {**QUERY, "timeout_ms": sent}
    assert json.loads(calls.explain({**QUERY, "ad_id": 1, **own}).content(1.0))["timeout_ms"] == sent
    lines = calls.retrieve_batch([{**QUERY, **own}] * 2).content(1.0).split(b"\n")
    assert [json.loads(line) for line in lines] == [{**QUERY, "timeout_ms": sent}] * 2


def test_writes_have_a_key_of_their_own_when_none_is_given():
    first, second = (calls.events([], "durable", None).key for _ in range(2))
    assert first != second
    assert calls.events([], "durable", "mine").key == "mine"
    assert [call.key is None for call in CALLS] == [call.scope != "write" or call.method == "GET" for call in CALLS]


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ä", "x" * 129])
def test_key_is_refused_before_it_is_sent_when_it_is_none(key):
    with pytest.raises(ValueError, match="give 1 to 128 printable characters"):
        calls.events([], "durable", key)


def test_ids_are_one_part_of_the_path_whatever_they_hold():
    assert calls.ad("a/../b?c#d %ü").path == "/ads/a%2F..%2Fb%3Fc%23d%20%25%C3%BC"
    assert calls.delete_user(7, "applied", None).path == "/users/7"


def test_version_is_a_parameter_when_one_is_expected():
    assert calls.delete_ad(7, 0, "applied", None).parameters == {"wait": "applied", "if_version": 0}
    assert calls.delete_ad(7, None, "durable", None).parameters == {"wait": "durable"}


def test_query_is_refused_when_json_has_no_such_number():
    with pytest.raises(ValueError, match="not JSON compliant"):
        calls.retrieve({**QUERY, "user_features": {"age": float("nan")}}).content(1.0)
