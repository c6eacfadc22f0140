"""The OpenAPI document of all endpoints, whatever the bundle and the settings; docs/openapi.json is its snapshot.

FastAPI makes the document and serves nothing, so it is imported only where the document is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response, Security
from fastapi.security import HTTPBearer

from service.contract.schemas import ErrorReply
from service.http.dispatcher import Route
from service.http.requests import JSON


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
        responses[200] = {"model": route.reply, "description": "done" if route.admin else "the answer"}
    for status, description in (route.refusals or {}).items():
        responses[status] = {"model": ErrorReply, "description": description}
    extra = None
    if route.body is not None:
        schema = route.body.model_json_schema()
        extra = {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}
    token = Security(HTTPBearer(auto_error=False, scheme_name="admin token"))
    app.add_api_route(route.path, route.endpoint, methods=[route.method], response_class=Response, response_model=None,
                      responses=responses or None, dependencies=[token] if route.admin else None, openapi_extra=extra)
