"""The calls about campaigns: declare budget and frequency cap of one, and look at what it has spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from index_store.budgets.campaign import NANOS, Campaign
from index_store.budgets.campaign_ads import ROLE
from index_store.budgets.gates import Gates
from index_store.changes.change_log import Change, Kind, Write
from index_store.declaration.values import FeatureError, as_key
from index_store.live.snapshot import Snapshot
from service.bundles.bundle_host import BundleHost
from service.contract.ad_schemas import WriteOptions
from service.contract.campaign_schemas import CampaignPut, CampaignReply
from service.contract.errors import ErrorType, ServiceError, from_feature_error, shown
from service.contract.parsing import parse_body
from service.http.authorization import TokenScope
from service.http.change_calls import READ_REFUSALS, REFUSALS, ChangeCalls, idempotency_key, options_of
from service.http.dispatcher import Route
from service.http.requests import json_reply, read_body
from service.live.applied import applied_by_workers
from service.live.campaign_writer import CampaignWriter
from service.live.log_writer import RefusedWriteError


class CampaignsApi:
    """The endpoints below /campaigns.

    Args:
        calls: to the change log.
        host: the bundle that serves.
    """

    def __init__(self, calls: ChangeCalls, host: Callable[[], BundleHost]) -> None:
        self._calls, self._host = calls, host

    @property
    def routes(self) -> list[Route]:
        return [
            Route(path="/campaigns/{campaign_id}", method="GET", endpoint=self.campaign, reply=CampaignReply,
                  refusals={**READ_REFUSALS, 404: "there is no such campaign"}, scope=TokenScope.WRITE),
            Route(path="/campaigns/{campaign_id}", method="PUT", endpoint=self.put, body=CampaignPut,
                  query=WriteOptions, keyed=True, reply=CampaignReply, refusals=REFUSALS, scope=TokenScope.WRITE)]

    async def campaign(self, request: Request) -> Response:
        """A campaign's budget and frequency cap, what it has spent today, and whether its gate is open."""
        writer = CampaignWriter(self._calls.usable())
        campaign_id = _campaign_id(request)
        self._checked()
        state = await writer.state(campaign_id)
        if state is None:
            raise ServiceError(ErrorType.CAMPAIGN_NOT_FOUND, f"campaign {shown(campaign_id)} was never declared",
                               "declare its budget or frequency cap with PUT /campaigns/{campaign_id}")
        applied = all(as_of >= state.sequence for as_of in applied_by_workers().values())
        return json_reply(self._reply(state, applied))

    async def put(self, request: Request) -> Response:
        """Declares the budget and frequency cap of a campaign; its ads are those whose field of that role names it."""
        writer = CampaignWriter(self._calls.usable())
        options, campaign_id = options_of(request, WriteOptions), _campaign_id(request)
        put = parse_body(await read_body(request, self._calls.settings), CampaignPut)
        self._checked()
        try:
            campaign = Campaign.declared(daily_budget=put.daily_budget_micros, currency=put.currency,
                                         time_zone=put.time_zone, frequency_cap=put.frequency_cap)
        except FeatureError as error:
            raise ServiceError(ErrorType.INVALID_VALUE, error.fact, error.remedy) from error
        try:
            (change,) = await self._calls.counted(1, writer.put(Write(
                kind=Kind.CAMPAIGN, id=campaign_id, fields=campaign.to_fields(), if_version=put.if_version,
                key=idempotency_key(request))))
        except RefusedWriteError as error:
            raise error.refusal from error
        applied = await self._calls.applied([change], options)
        return json_reply(self._reply(change, applied))

    def _checked(self) -> tuple[Snapshot, Gates]:
        """The newest snapshot and its gates.

        Raises:
            ServiceError: its bundle declares no campaigns.
        """
        host = self._host()
        snapshot = host.current
        if snapshot.gates is None:
            raise ServiceError(ErrorType.NO_CAMPAIGNS, f"no ad field of bundle {host.manifest.bundle_id} has the role "
                               f"{ROLE}, so no ad belongs to a campaign", f'give a categorical ad field "role": '
                               f'"{ROLE}" in features.json, and export again')
        return snapshot, snapshot.gates

    def _reply(self, state: Change, applied: bool) -> dict[str, Any]:
        """A CampaignReply, by the newest snapshot or, if that has not applied the state yet, as if it had."""
        snapshot, gates = self._checked()
        campaign, now = Campaign.of_fields(state.fields), time.time()
        if gates.budgets.declared.get(state.id) != campaign:
            gates = gates.after(gates.budgets.with_changes([state]), gates.ads)
        standing = gates.standing(state.id, now)
        return {"campaign_id": state.id, "version": state.sequence, **campaign.to_fields(),
                "ads": snapshot.ads_of(state.id),
                "spent_today_micros": gates.budgets.spent_today(state.id, now) // NANOS,
                "gate": standing.gate, "closed_until": standing.until, "pass_probability": standing.probability,
                "applied": applied}


def _campaign_id(request: Request) -> str:
    try:
        return as_key(request.path_params["campaign_id"], "campaign_id").decode()
    except FeatureError as error:
        raise from_feature_error(error, frozenset()) from error
