"""The client to await, against the application of one worker in this process."""

import asyncio
import inspect

import httpx
import pytest

from monn_hill import AsyncClient, Client, DeadlineError, RefusedError
from monn_hill.async_client import AsyncAds, AsyncUsers
from monn_hill.client import Ads, Users
from monn_hill.settings import CONNECTIONS
from monn_hill.version import VERSION
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN

FEATURES = {"price": 1.5, "category": "c3", "brand": None, "tags": ["tag-1"]}


def test_every_call_is_answered_when_the_service_has_a_change_log(tiny_bundle, tmp_path):
    async def check(app):
        async with AsyncClient("http://service", write_token=TOKEN, transport=app.http._transport) as client:
            put = await client.ads.put("new", features=FEATURES, wait="applied")
            assert put == {"ad_id": "new", "status": "active", "version": 1, "unseen": [], "applied": True}
            assert (await client.ads.patch("new", status="paused", key="k"))["version"] == 2
            assert (await client.ads.patch("new", status="paused", key="k"))["version"] == 2  # the same write again
            assert (await client.ads.get("new"))["status"] == "paused"
            batch = await client.ads.batch([{"op": "patch", "ad_id": "ad-0001", "status": "paused"},
                                            {"op": "delete", "ad_id": "ad-0002"}])
            assert batch["versions"] == [3, 4]
            with pytest.raises(RefusedError, match="409 version_conflict"):
                await client.ads.delete("new", if_version=1)
            assert (await client.ads.delete("new", if_version=2))["status"] == "deleted"
            assert (await client.users.put("u/9", features={"age": 31}))["user_id"] == "u/9"
            events = await client.events([{"user_id": "u/9", "ad_id": "ad-0005", "type": "click"}], wait="applied")
            assert events["sequences"] == [7]
            assert (await client.retrieve(user_id="u/9", top_k=3))["user"] == "known"
            explained = await client.explain(user_id="u/9", ad_id="ad-0001")
            assert explained["refused_by"]["by"] == "paused"
            await client.users.delete("u/9", wait="applied")
            assert (await client.retrieve(user_id="u/9", top_k=3))["user"] == "unknown"
            assert (await client.info())["version"]
            assert repr(client) == "AsyncClient('http://service')"

    in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


class _Silent(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request):
        await asyncio.Event().wait()


def test_call_ends_at_its_deadline_when_no_reply_comes():
    async def check():
        async with AsyncClient("http://service", transport=_Silent()) as client:
            with pytest.raises(DeadlineError, match=r"no reply within 0\.02 s; tries: 1, the last one: TimeoutError"):
                await client.retrieve(user_id="7", timeout=0.02)

    asyncio.run(check())


class _Counting(httpx.AsyncBaseTransport):
    """Notes how many requests it has at once."""

    def __init__(self):
        self.now = self.most = 0

    async def handle_async_request(self, request):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return httpx.Response(200, json={"version": VERSION})


def test_calls_beyond_the_connections_wait_when_many_come_at_once():
    async def check():
        transport = _Counting()
        async with AsyncClient("http://service", transport=transport) as client:
            await asyncio.gather(*(client.info() for _ in range(3 * CONNECTIONS)))
        assert transport.most == CONNECTIONS

    asyncio.run(check())


@pytest.mark.parametrize(("blocking", "awaited"), [(Client, AsyncClient), (Ads, AsyncAds), (Users, AsyncUsers)])
def test_calls_are_those_of_the_client_that_blocks(blocking, awaited):
    def calls(kind):
        return {name: inspect.signature(call) for name, call in vars(kind).items()
                if inspect.isfunction(call) and not name.startswith("_") and name != "call"}

    assert calls(blocking) == calls(awaited)
    assert all(map(inspect.iscoroutinefunction, (getattr(awaited, name) for name in calls(awaited))))
