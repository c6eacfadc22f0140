"""The admin calls: which bundles there are, load one, go back. The supervisor does it; here they are only let in."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer

from service.bundles.control_channel import WorkerEnd
from service.contract.admin_schemas import BundlesReply, LoadReply, LoadRequest
from service.contract.errors import ErrorType, ServiceError
from service.contract.parsing import parse_body
from service.contract.schemas import ErrorReply
from service.http.requests import JSON, json_reply, read_body, record_of
from service.sampling.recorder import Recorder
from service.settings import Settings, variable

BUNDLES, LOAD, ROLLBACK = "/admin/bundles", "/admin/bundles/load", "/admin/bundles/rollback"

_REFUSALS = {400: "the body is no JSON", 401: "the token is missing or another", 403: "this service has no admin token",
             404: "there is no such bundle", 408: "the body did not come in time",
             409: "refused, and why; nothing has changed",
             413: "the body is too large", 415: "the body is not declared as plain JSON", 422: "a field is unfit",
             500: "the service failed", 503: "about to end, or not done; see the message"}


class AdminApi:
    """The endpoints below /admin/.

    Args:
        settings: of the service.
        supervisor: who does what is asked.
        recorder: recent requests of this worker, on which a bundle is tried.
        refuse_if_draining: raises ServiceError once the service is about to end, for nobody would answer then.
    """

    def __init__(self, settings: Settings, supervisor: WorkerEnd, recorder: Recorder,
                 refuse_if_draining: Callable[[], None]) -> None:
        self._settings, self._supervisor, self._recorder = settings, supervisor, recorder
        self._refuse_if_draining = refuse_if_draining

    def add_routes(self, app: FastAPI) -> None:
        """Adds the endpoints; the OpenAPI document says that they need the token, `_let_in` sees to it."""
        refusals: dict[int | str, dict[str, Any]] = {
            status: {"model": ErrorReply, "description": description} for status, description in _REFUSALS.items()}
        body = {"required": True, "content": {JSON: {"schema": LoadRequest.model_json_schema()}}}
        for path, method, endpoint, reply in ((BUNDLES, "GET", self.bundles, BundlesReply),
                                              (LOAD, "POST", self.load, LoadReply),
                                              (ROLLBACK, "POST", self.rollback, LoadReply)):
            app.add_api_route(path, endpoint, methods=[method], response_class=Response, response_model=None,
                              responses={200: {"model": reply, "description": "done"}, **refusals},
                              dependencies=[Security(HTTPBearer(auto_error=False, scheme_name="admin token"))],
                              openapi_extra={"requestBody": body} if path == LOAD else None)

    async def bundles(self, request: Request) -> Response:
        """The bundles beside the pointer, what it says, and what each worker of this replica serves."""
        self._let_in(request, BUNDLES)
        return json_reply(await self._supervisor.call("list"))

    async def load(self, request: Request) -> Response:
        """Checks a bundle, compares it with the one that serves, points at it, and answers once every worker serves it.

        Of this replica, that is; the others follow the pointer by themselves.
        """
        self._let_in(request, LOAD)
        asked = parse_body(await read_body(request, self._settings), LoadRequest)
        return json_reply(await self._supervisor.call("load", asked.bundle, force=asked.force,
                                                       requests=self._recorder.requests()))

    async def rollback(self, request: Request) -> Response:
        """Points at the bundle before, and answers once every worker of this replica serves it."""
        self._let_in(request, ROLLBACK)
        return json_reply(await self._supervisor.call("rollback"))

    def _let_in(self, request: Request, endpoint: str) -> None:
        record_of(request, endpoint)
        token = self._settings.admin_token
        if token is None:
            raise ServiceError(ErrorType.ADMIN_DISABLED, "this service was started without an admin token, so it "
                               "takes no admin calls", f"start it with {variable('admin_token')}")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Takes the same time wherever the first difference is.
        right = hmac.compare_digest(given.strip().encode("latin-1"), token.get_secret_value().encode())
        if not right or scheme.lower() != "bearer":
            raise ServiceError(ErrorType.UNAUTHORIZED, "the admin token is missing or another one",
                               f"send Authorization: Bearer TOKEN, with the token of {variable('admin_token')}")
        self._refuse_if_draining()
