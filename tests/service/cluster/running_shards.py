"""Shards that listen: servers in threads of this process, or processes of their own, and an address book of them."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

from service.cluster.opened_shards import OpenedShards
from service.cluster.shard_server import ShardServer
from service.retrieval.onnx_towers import DenseRun
from service.shards.address_book import write_addresses
from service.shards.shard_access import ShardAccess
from tests.paths import ROOT


class ServerThread:
    """A shard server with an event loop and a thread of its own."""

    def __init__(self, folder, number):
        self.opened = OpenedShards(folder, number, DenseRun("onnx"))
        self._server, self._loop, listening = ShardServer(self.opened), asyncio.new_event_loop(), threading.Event()

        async def serve():
            await self._server.listen("127.0.0.1", 0)
            self._end = asyncio.Event()
            listening.set()
            await self._end.wait()
            await self._server.close()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serve(),), daemon=True)
        self._thread.start()
        assert listening.wait(60)

    @property
    def address(self):
        return f"127.0.0.1:{self._server.port}"

    def close(self):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)


class ShardProcess:
    """`python -m service.cluster shard` on a port that stays the same when it is started again."""

    def __init__(self, folder, number, port=0):
        self.folder, self.number, self.port = folder, number, port
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service.cluster", "shard", str(self.folder), "--number", str(self.number),
             "--port", str(self.port)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if '"shard_listening"' in line:
                self.port = int(line.split('"port":')[1].split("}")[0])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def signal(self, number):
        os.kill(self.process.pid, number)

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def access(book, **changed):
    return ShardAccess(**{"book": book, "timeout": 30.0, "opening": 30.0, "connections": 2} | changed)


def book_of(path, *shards):
    write_addresses(path, [[shard.address] for shard in shards])
    return path


def until(condition, seconds=60):
    """Waits until a condition holds, and returns what it returned."""
    end = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.02)
    return met
