"""The OpenAPI document: current, complete, and made without holding up what serves."""

import json
import subprocess
import sys

from service.__main__ import openapi
from service.http.app import Api
from service.settings import Settings
from tests.paths import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())


def test_document_is_current_when_compared_with_the_committed_one():
    assert json.loads(openapi()) == DOCUMENT, "run: python -m service --openapi > docs/openapi.json"


def test_document_lists_every_endpoint_and_asks_for_the_token_where_it_is_needed():
    listed = {(path, method.upper()): operation for path, operations in DOCUMENT["paths"].items()
              for method, operation in operations.items()}
    routes = Api(Settings.model_construct()).routes
    assert {route.path for route in routes if not route.documented} == {"/openapi.json", "/console",
                                                                        "/console/{file}"}
    assert set(listed) == {(route.path, route.method) for route in routes if route.documented}
    assert {key: operation.get("security") for key, operation in listed.items()} == {
        (route.path, route.method): None if route.scope is None
        else [{f"{route.scope} token": []}, *([{}] if route.scope == "read" else [])]
        for route in routes if route.documented}
    for path, scope in (("/retrieve", "read"), ("/explain", "read"), ("/ads", "write"), ("/changes", "write"),
                        ("/users/", "write"), ("/events", "write"),
                        ("/admin/", "admin"), ("/livez", None), ("/info", None), ("/metrics", None)):
        assert {route.scope for route in routes if route.path.startswith(path)} == {scope}
    for operation in listed.values():
        assert operation["description"]


def test_framework_and_client_of_redis_are_not_loaded_when_a_worker_starts():
    program = "import sys, service.http.app; sys.exit(bool({'fastapi', 'redis'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=300, check=False).returncode == 0
