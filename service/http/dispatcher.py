"""The innermost ASGI layer: finds the endpoint of a request by its path, and turns errors into replies.

The routing of a web framework would cost as much as refusing a request does (docs/decisions/0006-admission.md). A path
has one parameter at most, at its end, so dictionaries are enough.
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
from service.http.authorization import TokenScope
from service.http.observer import CLIENT_GONE
from service.http.requests import JSON, entry_of

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One endpoint, and its entry in the OpenAPI document.

    Attributes:
        path: may end in a parameter, such as `/ads/{ad_id}`, which takes the whole rest of a path.
        body: schema of its request body; None where it reads none.
        media_type: of that body.
        query: schema of its query string; None where it reads none.
        keyed: whether it reads an idempotency key.
        reply: schema of its answer; None where the document does not give one.
        refusals: HTTP status -> when it is refused.
        scope: of the token that a call needs; None where it never needs one.
        documented: whether the document lists it.
    """

    path: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    endpoint: Endpoint
    body: type[BaseModel] | None = None
    media_type: str = JSON
    query: type[BaseModel] | None = None
    keyed: bool = False
    reply: type[BaseModel] | None = None
    refusals: dict[int, str] | None = None
    scope: TokenScope | None = None
    documented: bool = True


class Dispatcher:
    """The ASGI application of one worker.

    Args:
        routes: all endpoints.
        lifespan: entered when the application starts, and left at its end.
        check: raises ServiceError if a request may not make a call of this scope.
    """

    def __init__(self, routes: Sequence[Route],
                 lifespan: Callable[[Any], AbstractAsyncContextManager[None]],
                 check: Callable[[TokenScope, Request], None]) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        self._with_parameter: dict[str, dict[str, Route]] = {}
        for route in routes:
            prefix, brace, _ = route.path.partition("{")
            (self._with_parameter if brace else self._routes).setdefault(prefix, {})[route.method] = route
        self._lifespan, self._check = Router(lifespan=lifespan), check

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
        routes = self._routes.get(path) or self._find_with_parameter(request)
        if routes is None:
            raise ServiceError(ErrorType.NOT_FOUND, f"there is no path {path[:100]!r}",
                               "use POST /retrieve or /explain, or GET /livez, /readyz, /startupz, /metrics, /info, "
                               "/openapi.json, or the other calls of docs/service.md")
        route = routes.get("GET" if method == "HEAD" else method)  # the server drops the body for HEAD
        if route is None:
            allowed = [name for known in routes for name in (("GET", "HEAD") if known == "GET" else (known,))]
            refusal = ServiceError(ErrorType.METHOD_NOT_ALLOWED, f"{path[:100]} does not support {method}",
                                   f"use {' or '.join(allowed)}")
            response = _refusal(request, refusal)
            response.headers["allow"] = ", ".join(allowed)
            return response
        entry_of(request).endpoint = route.path
        if route.scope is not None:
            self._check(route.scope, request)
        return await route.endpoint(request)

    def _find_with_parameter(self, request: Request) -> dict[str, Route] | None:
        """The routes of a path that ends in a parameter, whose value the request gets as `path_params`."""
        path = request.scope["path"]
        for prefix, routes in self._with_parameter.items():
            if path.startswith(prefix) and path != prefix:
                name = next(iter(routes.values())).path[len(prefix) + 1:-1]
                request.scope["path_params"] = {name: path[len(prefix):]}
                return routes
        return None


def _refusal(request: Request, error: ServiceError) -> Response:
    entry_of(request).error_type = error.error_type
    return Response(error.body(), error.status, error.headers, JSON)
