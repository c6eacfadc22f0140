"""The calls about ads: add, change, pause, resume or delete one or many, look at one, read the changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from index_store.changes.change_log import NEVER_CHANGED, Change, Kind, Write
from index_store.declaration.values import FeatureError, as_key
from index_store.live.ad_changes import STATUS, TARGETING, status_of
from index_store.live.snapshot import Snapshot
from index_store.live.users import FEATURES
from index_store.live.withdrawals import Status
from index_store.search.explain import path_of
from service.bundles.bundle_host import BundleHost
from service.contract.ad_lines import parse_lines, written
from service.contract.ad_schemas import (
    AdPatch,
    AdPut,
    AdReply,
    BatchLine,
    BatchReply,
    ChangesOptions,
    ChangesReply,
    DeleteOptions,
    WriteOptions,
    WriteReply,
)
from service.contract.errors import ServiceError, ad_not_found, from_feature_error
from service.contract.lines import NumberedWrite, at_line
from service.contract.parsing import parse_body
from service.http.authorization import TokenScope
from service.http.change_calls import READ_REFUSALS, REFUSALS, ChangeCalls, idempotency_key, options_of
from service.http.dispatcher import Route
from service.http.requests import LINES, json_reply, read_body
from service.live.ad_check import check
from service.live.ad_writer import AdWriter
from service.live.applied import applied_by_workers
from service.live.log_writer import RefusedWriteError

_REFUSALS = {**REFUSALS, 409: "the version is not the expected one, the ad is deleted, the idempotency key was used "
                              "for another write, or there is no change log; nothing was written"}



class AdsApi:
    """The endpoints below /ads, and /changes.

    Args:
        calls: to the change log.
        host: the bundle that serves.
    """

    def __init__(self, calls: ChangeCalls, host: Callable[[], BundleHost]) -> None:
        self._calls, self._host = calls, host

    @property
    def routes(self) -> list[Route]:
        return [
            Route(path="/ads/{ad_id}", method="GET", endpoint=self.ad, reply=AdReply, refusals=READ_REFUSALS,
                  scope=TokenScope.WRITE),
            Route(path="/ads/{ad_id}", method="PUT", endpoint=self.put, body=AdPut, query=WriteOptions,
                  keyed=True, reply=WriteReply, refusals=_REFUSALS, scope=TokenScope.WRITE),
            Route(path="/ads/{ad_id}", method="PATCH", endpoint=self.patch, body=AdPatch, query=WriteOptions,
                  keyed=True, reply=WriteReply, refusals=_REFUSALS, scope=TokenScope.WRITE),
            Route(path="/ads/{ad_id}", method="DELETE", endpoint=self.delete, query=DeleteOptions, keyed=True,
                  reply=WriteReply, refusals=_REFUSALS, scope=TokenScope.WRITE),
            Route(path="/ads:batch", method="POST", endpoint=self.batch, body=BatchLine, media_type=LINES,
                  query=WriteOptions, keyed=True, reply=BatchReply, refusals=_REFUSALS, scope=TokenScope.WRITE),
            Route(path="/changes", method="GET", endpoint=self.changes, query=ChangesOptions, reply=ChangesReply,
                  refusals={**READ_REFUSALS, 410: "some of these changes were trimmed"}, scope=TokenScope.WRITE)]

    async def ad(self, request: Request) -> Response:
        """An ad's state and version, where it lies in the tree, and which workers have applied its last change."""
        writer = AdWriter(self._calls.usable())
        ad_id, host = _ad_id(request), self._host()
        snapshot = host.current
        row = snapshot.row(ad_id.encode())
        state = await writer.state(ad_id)
        if state is None and row is None:
            raise ad_not_found(ad_id)
        version, fields = (NEVER_CHANGED, {}) if state is None else (state.sequence, state.fields)
        return json_reply({
            "ad_id": ad_id, "status": status_of(state), "version": version,
            "changed_at": None if state is None else state.at, "features": fields.get(FEATURES),
            "targeting": fields.get(TARGETING), "bid": None if row is None else snapshot.bid(row),
            "bundle_id": host.manifest.bundle_id,
            "unfit": snapshot.unfit.get(ad_id),
            "path": None if row is None else path_of(snapshot.tree, snapshot.placed, row),
            "workers": [{"worker": number, "as_of": as_of, "applied": as_of >= version}
                        for number, as_of in applied_by_workers().items()]})

    async def put(self, request: Request) -> Response:
        """Adds an ad, or replaces all that is said about one: every worker of every replica has it within a second."""
        writer = AdWriter(self._calls.usable())
        options = options_of(request, WriteOptions)
        ad = parse_body(await read_body(request, self._calls.settings), AdPut)
        return await self._write_one(writer, options, Write(
            kind=Kind.AD, id=_ad_id(request), fields=written("put", ad), if_version=ad.if_version,
            key=idempotency_key(request)))

    async def patch(self, request: Request) -> Response:
        """Pauses, resumes or retargets an ad, or changes its bid: every worker answers accordingly within a second."""
        writer = AdWriter(self._calls.usable())
        options = options_of(request, WriteOptions)
        patch = parse_body(await read_body(request, self._calls.settings), AdPatch)
        return await self._write_one(writer, options, Write(
            kind=Kind.AD, id=_ad_id(request), fields=written("patch", patch), if_version=patch.if_version,
            key=idempotency_key(request)))

    async def delete(self, request: Request) -> Response:
        """Deletes an ad for good: every worker of every replica leaves it out within a second."""
        writer = AdWriter(self._calls.usable())
        options = options_of(request, DeleteOptions)
        return await self._write_one(writer, options, Write(
            kind=Kind.AD, id=_ad_id(request), fields={STATUS: Status.DELETED.value}, if_version=options.if_version,
            key=idempotency_key(request)))

    async def batch(self, request: Request) -> Response:
        """Adds, changes and deletes many ads, all or none, by lines of JSON; a refusal names the first bad line."""
        writer = AdWriter(self._calls.usable())
        options = options_of(request, WriteOptions)
        body = await read_body(request, self._calls.settings, LINES, "in several batches")
        lines = await asyncio.to_thread(  # thousands of them take a while
            _checked_lines, body, idempotency_key(request), self._host().current)
        try:
            changes = await self._append(writer, lines)
        except RefusedWriteError as error:
            raise at_line(error.refusal, lines[error.index].line) from error
        applied = await self._calls.applied(changes, options)
        return json_reply({"versions": [change.sequence for change in changes], "applied": applied})

    async def changes(self, request: Request) -> Response:
        """The changes after a sequence number, in order."""
        log = self._calls.usable()
        options = options_of(request, ChangesOptions)
        found, last = await log.changes(options.after, options.limit)
        return json_reply({"changes": [{"sequence": change.sequence, "at": change.at, "kind": change.kind,
                                        "id": change.id, "fields": dict(change.fields)} for change in found],
                           "last": last})

    async def _write_one(self, writer: AdWriter, options: WriteOptions, write: Write) -> Response:
        unseen = check(write, self._host().current)
        try:
            (change,) = await self._append(writer, [NumberedWrite(1, write)])
        except RefusedWriteError as error:
            raise error.refusal from error
        return json_reply({"ad_id": change.id, "status": status_of(change), "version": change.sequence,
                           "unseen": unseen, "applied": await self._calls.applied([change], options)})

    async def _append(self, writer: AdWriter, lines: Sequence[NumberedWrite]) -> list[Change]:
        snapshot = self._host().current
        return await self._calls.counted(len(lines), writer.append(
            [line.write for line in lines], lambda ad_id: snapshot.row(ad_id.encode()) is not None))


def _checked_lines(body: bytes, key: str | None, snapshot: Snapshot) -> list[NumberedWrite]:
    lines = parse_lines(body, key)
    for line in lines:
        try:
            check(line.write, snapshot)
        except ServiceError as error:
            raise at_line(error, line.line) from error
    return lines


def _ad_id(request: Request) -> str:
    try:
        return as_key(request.path_params["ad_id"], "ad_id").decode()
    except FeatureError as error:
        raise from_feature_error(error, frozenset()) from error
