"""Takes the requests that come by the hundred past the web framework, which would cost as much as to refuse one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
ErrorHandler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


class Direct:
    """Wraps an ASGI application.

    Args:
        app: answers everything else.
        posts: path -> endpoint of its POST requests.
        handlers: error -> what to answer; that of `Exception` itself is for defects, which are then raised again.
    """

    def __init__(self, app: ASGIApp, posts: Mapping[str, Endpoint],
                 handlers: Mapping[int | type[Exception], ErrorHandler]) -> None:
        self._app, self._posts = app, posts
        self._handlers = [(kind, handler) for kind, handler in handlers.items()
                          if isinstance(kind, type) and kind is not Exception]
        self._apologise = handlers[Exception]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._posts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            expected = next((handler for kind, handler in self._handlers if isinstance(error, kind)), None)
            response = await (expected or self._apologise)(request, error)
            await response(scope, receive, send)
            if expected is None:
                raise
            return
        await response(scope, receive, send)
