"""The client that blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Self, TypeVar, Unpack

import httpx

from monn_hill import batch, calls, settings
from monn_hill.calls import Call, Wait
from monn_hill.errors import RetrievalError
from monn_hill.schemas import (
    AdPatch,
    AdPut,
    AdReply,
    BatchLine,
    BatchReply,
    CampaignPut,
    CampaignReply,
    EventLine,
    EventsReply,
    ExplainReply,
    ExplainRequest,
    InfoReply,
    RetrieveReply,
    RetrieveRequest,
    UserPut,
    UserReply,
    WriteReply,
)
from monn_hill.steps import Caller, Outcome, Pause, Step, Steps

Reply = TypeVar("Reply")


class Client:
    """Calls of the retrieval service; may be used by several threads at once, and in a `with` block.

    Every call raises RetrievalError, or one of its kinds, and takes a `timeout`: the seconds that it has with all its
    tries, each wait for the network included. A reply that arrives in drops may exceed it; AsyncClient cuts it off.

    Args:
        url: of the service, such as http://127.0.0.1:8080.
        read_token, write_token: default: the environment variables RETRIEVAL_READ_TOKEN and RETRIEVAL_WRITE_TOKEN.
        timeout: seconds of a call that names none.
        transport: of httpx, for certificates, proxies or limits of your own.

    Attributes:
        ads, users: the calls about ads, and about users.

    Raises:
        ValueError: the URL is none.
    """

    def __init__(self, url: str, *, read_token: str | None = None, write_token: str | None = None,
                 timeout: float = settings.TIMEOUT, transport: httpx.BaseTransport | None = None) -> None:
        self._caller = Caller(settings.tokens(read_token, write_token), timeout)
        self._http = httpx.Client(transport=transport, **settings.options(url))
        self.ads, self.users, self.campaigns = Ads(self), Users(self), Campaigns(self)

    def __repr__(self) -> str:
        return f"Client({settings.shown(self._http)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def retrieve(self, *, timeout: float | None = None, **query: Unpack[RetrieveRequest]) -> RetrieveReply:
        """The best ads for a user, best first."""
        return self.call(calls.retrieve(query), timeout)

    def retrieve_batch(self, queries: Sequence[RetrieveRequest], *,
                       timeout: float | None = None) -> list[RetrieveReply | RetrievalError]:
        """The best ads of each of up to 1,000 queries, or what it was refused with, in order.

        Those that find no room are sent again; the answers of the others are kept.
        """
        return self._take(batch.answers(self._caller, queries, timeout))

    def explain(self, *, timeout: float | None = None, **query: Unpack[ExplainRequest]) -> ExplainReply:
        """Why an ad was or was not returned to a user."""
        return self.call(calls.explain(query), timeout)

    def events(self, events: Iterable[EventLine], *, wait: Wait = "durable", key: str | None = None,
               timeout: float | None = None) -> EventsReply:
        """Writes what users did with ads, all or none."""
        return self.call(calls.events(events, wait, key), timeout)

    def info(self, *, timeout: float | None = None) -> InfoReply:
        """What is served: bundle, tasks, features and limits."""
        return self.call(calls.info(), timeout)

    def call(self, call: Call[Reply], timeout: float | None) -> Reply:
        """The answer of a call of `monn_hill.calls`."""
        return self._take(self._caller.answer(call, timeout))

    def _take(self, steps: Steps[Reply]) -> Reply:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            outcome = self._done(step)

    def _done(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.request(**step.request, timeout=settings.timeout(step.seconds))
        except httpx.RequestError as error:
            return error


class Ads:
    """The calls about ads; they need the write token.

    A write is repeated until it is answered, under an idempotency key: `key`, or one that the client makes.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, ad_id: str | int, *, timeout: float | None = None) -> AdReply:
        """An ad's state and version, and which workers have applied its last change."""
        return self._client.call(calls.ad(ad_id), timeout)

    def put(self, ad_id: str | int, *, wait: Wait = "durable", key: str | None = None, timeout: float | None = None,
            **ad: Unpack[AdPut]) -> WriteReply:
        """Adds an ad, or replaces all that is said about one."""
        return self._client.call(calls.put_ad(ad_id, ad, wait, key), timeout)

    def patch(self, ad_id: str | int, *, wait: Wait = "durable", key: str | None = None, timeout: float | None = None,
              **patch: Unpack[AdPatch]) -> WriteReply:
        """Pauses, resumes or retargets an ad."""
        return self._client.call(calls.patch_ad(ad_id, patch, wait, key), timeout)

    def delete(self, ad_id: str | int, *, if_version: int | None = None, wait: Wait = "durable",
               key: str | None = None, timeout: float | None = None) -> WriteReply:
        """Deletes an ad for good."""
        return self._client.call(calls.delete_ad(ad_id, if_version, wait, key), timeout)

    def batch(self, lines: Iterable[BatchLine], *, wait: Wait = "durable", key: str | None = None,
              timeout: float | None = None) -> BatchReply:
        """Adds, changes and deletes many ads, all or none."""
        return self._client.call(calls.batch_ads(lines, wait, key), timeout)


class Users:
    """The calls about users; see Ads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def put(self, user_id: str | int, *, wait: Wait = "durable", key: str | None = None,
            timeout: float | None = None, **user: Unpack[UserPut]) -> UserReply:
        """Replaces the stored features of a user."""
        return self._client.call(calls.put_user(user_id, user, wait, key), timeout)

    def delete(self, user_id: str | int, *, wait: Wait = "durable", key: str | None = None,
               timeout: float | None = None) -> UserReply:
        """Forgets a user."""
        return self._client.call(calls.delete_user(user_id, wait, key), timeout)


class Campaigns:
    """The calls about campaigns; see Ads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, campaign_id: str | int, *, timeout: float | None = None) -> CampaignReply:
        """A campaign's budget, what it has spent today, and whether its gate is open."""
        return self._client.call(calls.campaign(campaign_id), timeout)

    def put(self, campaign_id: str | int, *, wait: Wait = "durable", key: str | None = None,
            timeout: float | None = None, **campaign: Unpack[CampaignPut]) -> CampaignReply:
        """Declares the budget and frequency cap of a campaign."""
        return self._client.call(calls.put_campaign(campaign_id, campaign, wait, key), timeout)
