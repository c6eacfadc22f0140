"""The calls about users: put the features of one, or forget one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from index_store.changes.change_log import Change, Kind, Write
from index_store.declaration.values import FeatureError, as_key
from index_store.live.users import FEATURES
from service.bundles.bundle_host import BundleHost
from service.contract.ad_schemas import WriteOptions
from service.contract.errors import ErrorType, ServiceError, from_feature_error
from service.contract.parsing import parse_body
from service.contract.query import Query
from service.contract.user_schemas import UserPut, UserReply
from service.http.authorization import TokenScope
from service.http.change_calls import REFUSALS, ChangeCalls, idempotency_key, options_of
from service.http.dispatcher import Route
from service.http.requests import json_reply, read_body
from service.live.log_writer import RefusedWriteError
from service.live.user_writer import UserWriter


class UsersApi:
    """The endpoints below /users.

    Args:
        calls: to the change log.
        host: the bundle that serves.
    """

    def __init__(self, calls: ChangeCalls, host: Callable[[], BundleHost]) -> None:
        self._calls, self._host = calls, host

    @property
    def routes(self) -> list[Route]:
        return [
            Route(path="/users/{user_id}", method="PUT", endpoint=self.put, body=UserPut, query=WriteOptions,
                  keyed=True, reply=UserReply, refusals=REFUSALS, scope=TokenScope.WRITE),
            Route(path="/users/{user_id}", method="DELETE", endpoint=self.delete, query=WriteOptions, keyed=True,
                  reply=UserReply, refusals=REFUSALS, scope=TokenScope.WRITE)]

    async def put(self, request: Request) -> Response:
        """Replaces the features of a user; the user's next request uses them, and its own still win over them."""
        writer, user_id = UserWriter(self._calls.usable()), _user_id(request)
        options = options_of(request, WriteOptions)
        put = parse_body(await read_body(request, self._calls.settings, less="such as fewer features"), UserPut)
        self._check(put)
        return await self._written(user_id, options, writer.put(Write(
            kind=Kind.USER, id=user_id, fields={FEATURES: put.features}, if_version=put.if_version,
            key=idempotency_key(request))))

    async def delete(self, request: Request) -> Response:
        """Forgets a user: features, history, cached embedding and entries of the change log; the id is unknown then."""
        writer, user_id = UserWriter(self._calls.usable()), _user_id(request)
        options, host = options_of(request, WriteOptions), self._host()
        cached = self._embedding_key(host, user_id)
        try:
            return await self._written(user_id, options, writer.forget(user_id, idempotency_key(request)))
        finally:
            if host.cache is not None:
                host.cache.remove(cached)

    def _check(self, put: UserPut) -> None:
        """Refuses features that do not fit the bundle."""
        try:
            self._host().retriever.bundle.content.encoder.encode_user(put.features)
        except FeatureError as error:
            known = error.name in self._host().user_fields
            raise ServiceError(ErrorType.INVALID_FEATURE if known else ErrorType.UNKNOWN_FEATURE, error.fact,
                               f"in features, {error.remedy}" if known else f"remove it: {error.remedy}") from error

    def _embedding_key(self, host: BundleHost, user_id: str) -> bytes:
        """Key of the embedding that a request of this user without features has now."""
        retriever = host.retriever
        query = Query(user_id=user_id.encode(), top_k=1, task_weights=np.ones(1, np.float32))
        return retriever.tower_input(retriever.encode(query, host.snapshot)).digest()

    async def _written(self, user_id: str, options: WriteOptions, appended: Awaitable[list[Change]]) -> Response:
        try:
            changes = await self._calls.counted(1, appended)
        except RefusedWriteError as error:
            raise error.refusal from error
        return json_reply({"user_id": user_id, "version": changes[0].sequence,
                           "applied": await self._calls.applied(changes, options)})


def _user_id(request: Request) -> str:
    try:
        return as_key(request.path_params["user_id"], "user_id").decode()
    except FeatureError as error:
        raise from_feature_error(error, frozenset()) from error
