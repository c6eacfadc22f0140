"""The application of one worker in this process: the same code as behind the port, without processes and sockets."""

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from index_store.bundle.files import BundleFiles
from service.bundles.control_channel import Call, Release, Reply, SupervisorEnd
from service.http.app import Api
from service.http.dispatcher import Dispatcher
from service.http.observer import Observer
from service.settings import Settings


@dataclass
class App:
    """The endpoints, a client of theirs, and the supervisor's end of the channel."""

    api: Api
    http: httpx.AsyncClient
    supervisor: SupervisorEnd

    async def next_call(self):
        """The next admin call that is forwarded to the supervisor."""
        async with asyncio.timeout(60):
            while True:
                calls = [message for message in self.supervisor.receive() if isinstance(message, Call)]
                if calls:
                    return calls[0]
                await asyncio.sleep(0.005)

    def answer(self, call, outcome):
        assert self.supervisor.send(Reply(call.number, outcome))


@asynccontextmanager
async def running(bundle, **settings):
    """An App on a bundle, once it is warm."""
    ours, theirs = socket.socketpair()
    api = Api(Settings(quality_sample_rate=0, **settings))
    release = Release(bundle.name, bundle, BundleFiles(bundle, verify=False).manifest.bundle_id)
    dispatcher = Dispatcher(api.routes, lambda _: api.serving(release, theirs), api.entrance.check)
    transport = httpx.ASGITransport(Observer(dispatcher))
    with ours:
        async with api.serving(release, theirs), \
                httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            async with asyncio.timeout(60):
                while not api.bundles.started:
                    await asyncio.sleep(0.005)
            yield App(api, client, SupervisorEnd(ours))


def in_app(bundle, check, **settings):
    """Runs `check(app)`."""
    async def run():
        async with running(bundle, **settings) as app:
            await check(app)

    asyncio.run(run())
