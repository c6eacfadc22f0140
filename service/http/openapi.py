"""The OpenAPI document of all endpoints, whatever the bundle and the settings; docs/openapi.json is its snapshot.

FastAPI makes the document and serves nothing, so it is imported only where the document is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response, Security
from fastapi.security import HTTPBearer

from service.contract.ad_schemas import IDEMPOTENCY_KEY, KEY_PATTERN
from service.contract.schemas import ErrorReply
from service.http.authorization import TokenScope
from service.http.dispatcher import Route


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of these endpoints, as plain JSON values."""
    app = FastAPI(title="Ad retrieval", version=version, description="MoNN scores, the HILL tree prunes.")
    for route in routes:
        if route.documented:
            _add(app, route)
    return app.openapi()


def _add(app: FastAPI, route: Route) -> None:
    responses: dict[int | str, dict[str, Any]] = {}
    if route.reply is not None:
        description = "the answer" if route.scope in (None, TokenScope.READ) else "done"
        responses[200] = {"model": route.reply, "description": description}
    for status, description in (route.refusals or {}).items():
        responses[status] = {"model": ErrorReply, "description": description}
    extra: dict[str, Any] = {"parameters": parameters} if (parameters := _parameters(route)) else {}
    if route.body is not None:
        schema = route.body.model_json_schema()
        extra |= {"requestBody": {"required": True, "content": {route.media_type: {"schema": schema}}}}
    tokens = None
    if route.scope is not None:
        tokens = [Security(HTTPBearer(auto_error=False, scheme_name=route.scope.token))]
    if route.scope is TokenScope.READ:
        extra["security"] = [{}]  # as an alternative: a service without that token is open
    app.add_api_route(route.path, route.endpoint, methods=[route.method], response_class=Response, response_model=None,
                      responses=responses or None, dependencies=tokens, openapi_extra=extra or None)


def _parameters(route: Route) -> list[dict[str, Any]]:
    """Those of path, query string and headers."""
    text = {"type": "string", "minLength": 1}
    found = [{"name": name, "in": "path", "required": True, "schema": text}
             for name in re.findall(r"{(\w+)}", route.path)]
    if route.query is not None:
        for name, schema in route.query.model_json_schema()["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "description": schema.pop("description"),
                          "schema": schema})
    if route.keyed:
        found.append({"name": IDEMPOTENCY_KEY, "in": "header", "required": False,
                      "description": "a call that repeats the key of an earlier one changes nothing",
                      "schema": text | {"pattern": KEY_PATTERN}})
    return found
