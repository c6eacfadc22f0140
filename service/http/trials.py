"""The admin calls about trials: a canary, which answers a share of the users, and a shadow, which answers nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from index_store.bundle.trials import Role
from service.bundles.control_channel import Call, WorkerEnd
from service.console.trial_figures import trial_figures
from service.contract.parsing import parse_body
from service.contract.trial_schemas import CanaryRequest, ShadowRequest, TrialBegun, TrialsReply, TrialsState
from service.http.admin import REFUSALS
from service.http.authorization import TokenScope
from service.http.dispatcher import Route
from service.http.requests import json_reply, read_body
from service.sampling.recent_requests import RecentRequests
from service.sampling.shadow_meter import OnlyOne
from service.settings import Settings
from service.telemetry import metrics

_MOST_ADS = 20


class TrialsApi:
    """The endpoints /admin/canary, /admin/shadow and /admin/trials. The supervisor carries them out.

    Args:
        settings: of the service.
        supervisor: the channel to the supervisor.
        recent: requests of this worker, on which a bundle is tried.
        only_one: the ads that the shadow alone shows, or does not, in this worker.
        refuse_if_draining: raises ServiceError once the service is about to end, since nobody would answer then.
    """

    def __init__(self, settings: Settings, supervisor: WorkerEnd, recent: RecentRequests,
                 only_one: Callable[[], OnlyOne], refuse_if_draining: Callable[[], None]) -> None:
        self._settings, self._supervisor, self._recent, self._only_one = settings, supervisor, recent, only_one
        self._refuse_if_draining = refuse_if_draining

    @property
    def routes(self) -> list[Route]:
        admin = TokenScope.ADMIN
        return [
            Route(path="/admin/canary", method="POST", endpoint=self.begin_canary, body=CanaryRequest,
                  reply=TrialBegun, refusals=REFUSALS, scope=admin),
            Route(path="/admin/canary", method="DELETE", endpoint=self.end_canary, reply=TrialBegun,
                  refusals=REFUSALS, scope=admin),
            Route(path="/admin/shadow", method="POST", endpoint=self.begin_shadow, body=ShadowRequest,
                  reply=TrialBegun, refusals=REFUSALS, scope=admin),
            Route(path="/admin/shadow", method="DELETE", endpoint=self.end_shadow, reply=TrialBegun,
                  refusals=REFUSALS, scope=admin),
            Route(path="/admin/trials", method="GET", endpoint=self.trials, reply=TrialsReply, refusals=REFUSALS,
                  scope=admin)]

    async def begin_canary(self, request: Request) -> Response:
        """Has a bundle answer a share of the users once it has passed its check and the gate, or changes the share."""
        self._refuse_if_draining()
        asked = parse_body(await read_body(request, self._settings), CanaryRequest)
        return await self._called(Call(0, "try", asked.bundle, asked.force, self._recent.bodies(), "canary",
                                       asked.share))

    async def end_canary(self, request: Request) -> Response:
        """Has the current bundle answer all users again."""
        return await self._ended("canary")

    async def begin_shadow(self, request: Request) -> Response:
        """Compares what a bundle would answer with what is returned, once it has passed its check."""
        self._refuse_if_draining()
        asked = parse_body(await read_body(request, self._settings), ShadowRequest)
        return await self._called(Call(0, "try", asked.bundle, role="shadow"))

    async def end_shadow(self, request: Request) -> Response:
        """Compares no longer; what was found stays."""
        return await self._ended("shadow")

    async def trials(self, request: Request) -> Response:
        """What is on trial, and what has been found."""
        self._refuse_if_draining()
        listed = await self._supervisor.call("list")
        state: dict[str, Any] = {name: listed[name] for name in TrialsState.model_fields}
        found = await asyncio.to_thread(lambda: trial_figures(metrics.samples()))
        only = self._only_one()
        ads = {name: [{"ad_id": ad_id, "count": count} for ad_id, count in tally.most(_MOST_ADS)]
               for name, tally in (("only_current", only.current), ("only_shadow", only.shadow))}
        return json_reply(state | found | ads)

    async def _ended(self, role: Role) -> Response:
        self._refuse_if_draining()
        return await self._called(Call(0, "end", role=role))

    async def _called(self, call: Call) -> Response:
        return json_reply(await self._supervisor.ask(call))
