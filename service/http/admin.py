"""The admin calls: list the bundles, load one, roll back. The supervisor carries them out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from service.bundles.control_channel import WorkerEnd
from service.contract.admin_schemas import BundlesReply, LoadReply, LoadRequest
from service.contract.parsing import parse_body
from service.http.authorization import TokenScope
from service.http.dispatcher import Route
from service.http.requests import json_reply, read_body
from service.sampling.recent_requests import RecentRequests
from service.settings import Settings

REFUSALS = {400: "the body is not valid JSON", 401: "the token is missing or wrong",
             403: "this service has no admin token, or the token is of another scope",
             404: "the bundle does not exist", 408: "the body did not arrive in time",
             409: "refused, and why; nothing has changed", 413: "the body is too large",
             415: "the body is not declared as plain JSON", 422: "a field is invalid",
             429: "too many calls, see Retry-After", 500: "the service failed",
             503: "shutting down, or not done; see the message"}


class AdminApi:
    """The endpoints below /admin/.

    Args:
        settings: of the service.
        supervisor: the channel to the supervisor.
        recent: requests of this worker, on which a bundle is tried.
        refuse_if_draining: raises ServiceError once the service is about to end, since nobody would answer then.
    """

    def __init__(self, settings: Settings, supervisor: WorkerEnd, recent: RecentRequests,
                 refuse_if_draining: Callable[[], None]) -> None:
        self._settings, self._supervisor, self._recent = settings, supervisor, recent
        self._refuse_if_draining = refuse_if_draining

    @property
    def routes(self) -> list[Route]:
        return [
            Route(path="/admin/bundles", method="GET", endpoint=self.bundles, reply=BundlesReply, refusals=REFUSALS,
                  scope=TokenScope.ADMIN),
            Route(path="/admin/bundles/load", method="POST", endpoint=self.load, body=LoadRequest, reply=LoadReply,
                  refusals=REFUSALS, scope=TokenScope.ADMIN),
            Route(path="/admin/bundles/rollback", method="POST", endpoint=self.rollback, reply=LoadReply,
                  refusals=REFUSALS, scope=TokenScope.ADMIN)]

    async def bundles(self, request: Request) -> Response:
        """The bundles beside the pointer, the pointer's content, and what each worker of this replica serves."""
        self._refuse_if_draining()
        return json_reply(await self._supervisor.call("list"))

    async def load(self, request: Request) -> Response:
        """Checks a bundle, compares it with the current one, sets the pointer, and answers once every worker serves it.

        It waits for the workers of this replica; the others follow the pointer by themselves.
        """
        self._refuse_if_draining()
        load = parse_body(await read_body(request, self._settings), LoadRequest)
        return json_reply(await self._supervisor.call("load", load.bundle, force=load.force,
                                                       requests=self._recent.bodies()))

    async def rollback(self, request: Request) -> Response:
        """Sets the pointer to the previous bundle, and answers once every worker of this replica serves it."""
        self._refuse_if_draining()
        return json_reply(await self._supervisor.call("rollback"))

