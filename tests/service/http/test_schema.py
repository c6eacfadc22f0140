"""schemathesis against the real service: a short form of `python -m loadtest fuzz`, the same requests each time."""

import json

import pytest

from index_store.bundle import pointer
from index_store.bundle.pointer import Pointer
from loadtest.http.fuzz import FuzzError, fuzz, refined
from tests.service.service_process import ROOT, ServiceProcess
from tests.targeted_bundle import write_targeted_bundle

TOKEN = "a token of thirty-two characters"
SEED = 1


@pytest.fixture(scope="module")
def targeted(tiny_bundle, tmp_path_factory):
    """A service of two bundles, one of them with targeting and context, whose admin calls may be made, and writes."""
    store = tmp_path_factory.mktemp("store")
    (store / "tiny").symlink_to(tiny_bundle)
    write_targeted_bundle(tiny_bundle, store / "targeted")
    pointer.replace(store, Pointer("targeted", "tiny"), None)
    with ServiceProcess(store, RETRIEVAL_ADMIN_TOKEN=TOKEN, RETRIEVAL_WRITE_TOKEN=TOKEN,
                        RETRIEVAL_READ_TOKEN=TOKEN, RETRIEVAL_RECORDED_REQUESTS="8") as process:  # they are replayed
        yield process


def test_every_reply_is_as_documented_when_requests_are_random(targeted):
    found = fuzz(str(targeted.http.base_url), 300, TOKEN, seed=SEED)
    assert not found.failed, found.output
    assert found.cases >= 300
    ended = [event for event in targeted.events if event["event"] == "request"]
    statuses = [event["status"] for event in ended]
    assert max(statuses) < 500
    # If nothing got past the names of fields, nothing was tried.
    for endpoint in ("/retrieve", "/explain"):
        assert sum(event["endpoint"] == endpoint and event["status"] == 200 for event in ended) >= 5, statuses


def test_document_knows_the_fields_of_the_bundle_when_it_is_refined():
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    info = {"tasks": ["click"], "user_features": {"age": "dense", "interests": "multi"}, "context": {"hour": "dense"},
            "ad_features": {"price": "dense", "tags": "multi"}}
    body = refined(document, info)["paths"]["/retrieve"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]["user_features"]["properties"]) == {"age", "interests", "history"}
    assert set(body["properties"]["context"]["properties"]) == {"hour"}
    assert {"field": {"const": "price"}, "at_least": {"type": "number"}, "at_most": {"type": "number"}} in [
        clause["properties"] for clause in body["properties"]["targeting"]["anyOf"]]


def test_error_names_the_address_when_no_service_is_there():
    with pytest.raises(FuzzError, match=r"127\.0\.0\.1:9/openapi\.json cannot be read"):
        fuzz("http://127.0.0.1:9", 1)
