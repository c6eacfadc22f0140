"""The innermost ASGI layer: finds the endpoint of a request by its exact path, and turns errors into replies.

The routing of a web framework would cost as much as refusing a request does (docs/decisions/0006-admission.md). No path
has parameters, so a dictionary is enough.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from service.contract.errors import ErrorType, ServiceError, internal_error
from service.http.admission import ClientLeftError
from service.http.observer import CLIENT_GONE
from service.http.requests import JSON, entry_of

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One endpoint, and its entry in the OpenAPI document.

    Attributes:
        body: schema of its request body; None where it reads none.
        reply: schema of its answer; None where the document does not give one.
        refusals: HTTP status -> when it is refused.
        admin: whether a call needs the admin token.
        documented: whether the document lists it.
    """

    path: str
    method: Literal["GET", "POST"]
    endpoint: Endpoint
    body: type[BaseModel] | None = None
    reply: type[BaseModel] | None = None
    refusals: dict[int, str] | None = None
    admin: bool = False
    documented: bool = True


class Dispatcher:
    """The ASGI application of one worker.

    Args:
        routes: all endpoints.
        lifespan: entered when the application starts, and left at its end.
    """

    def __init__(self, routes: Sequence[Route],
                 lifespan: Callable[[Any], AbstractAsyncContextManager[None]]) -> None:
        self._routes = {route.path: route for route in routes}
        self._lifespan = Router(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ServiceError as error:
            response = _refusal(request, error)
        except (ClientDisconnect, ClientLeftError):
            response = Response(status_code=CLIENT_GONE)  # nobody reads it; the status is for log and metrics
        except Exception:
            await _refusal(request, internal_error())(scope, receive, send)
            raise  # for the observer, which logs the traceback
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, method = request.scope["path"], request.scope["method"]
        route = self._routes.get(path)
        if route is None:
            raise ServiceError(ErrorType.NOT_FOUND, f"there is no path {path[:100]!r}",
                               "use POST /retrieve or /explain, or GET /livez, /readyz, /startupz, /metrics, /info, "
                               "/openapi.json, or the admin calls of docs/service.md")
        allowed = ("GET", "HEAD") if route.method == "GET" else (route.method,)  # the server drops the body for HEAD
        if method not in allowed:
            refusal = ServiceError(ErrorType.METHOD_NOT_ALLOWED, f"{path} does not support {method}",
                                   f"use {' or '.join(allowed)}")
            response = _refusal(request, refusal)
            response.headers["allow"] = ", ".join(allowed)
            return response
        entry_of(request).endpoint = path
        return await route.endpoint(request)


def _refusal(request: Request, error: ServiceError) -> Response:
    entry_of(request).error_type = error.error_type
    return Response(error.body(), error.status, error.headers, JSON)
