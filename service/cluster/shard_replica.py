"""A shard as a replica of Ray Serve, which places and restarts it. Roots talk to it at the address that it tells."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from service.cluster.opened_shards import OpenedShards
from service.cluster.shard_scaling import BUSY
from service.cluster.shard_server import ShardServer
from service.retrieval.onnx_towers import DenseRun
from service.settings import read_settings
from service.telemetry.request_log import log

_START_SECONDS = 30.0

_DRAIN_LOOK_SECONDS = 0.05


class ShardReplica:
    """Serves the shards of one number from a thread of its own, beside the one in which Serve calls it.

    Args:
        bundles: folder of roots on this machine.
        number: of the shard.
        host: address to listen on; the port is the system's choice.

    Raises:
        OSError: the folder is not there, or the address cannot be bound.
        SettingsError: a setting in the environment of the node cannot be used.
    """

    def __init__(self, bundles: str, number: int, host: str) -> None:
        settings = read_settings({})
        if not Path(bundles).is_dir():
            raise OSError(f"{bundles} is not a folder on this machine; mount the folder of roots there")
        self._host, self._number, self._problem = host, number, ""
        self._server = ShardServer(OpenedShards(Path(bundles), number, DenseRun(settings.kernel,
                                                                                settings.onnx_threads)))
        self._recorded = (time.monotonic(), 0.0)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shard", daemon=True)
        self._thread.start()
        if not self._listening.wait(_START_SECONDS) or self._problem:
            raise OSError(f"shard {number} cannot listen on {host} ({self._problem or 'no answer'})")

    def address(self) -> str:
        """Where roots reach it, HOST:PORT."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._server.port}"

    def check_health(self) -> None:
        """Raises RuntimeError once it has stopped serving; Serve then replaces it."""
        if not self._thread.is_alive():
            raise RuntimeError(f"the shard server has ended: {self._problem}")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The share of the time since the last call in which the shard worked on frames, for Serve's autoscaler."""
        now, busy = time.monotonic(), self._server.busy_seconds
        former, former_busy = self._recorded
        self._recorded = (now, busy)
        return {BUSY: min(1.0, (busy - former_busy) / max(now - former, 1e-6))}

    def drain(self, seconds: float) -> None:
        """Waits until no root is connected any longer, for so long at most.

        Serve stops advertising the replica first; each root then closes its connections as soon as no search uses them.
        """
        began = time.monotonic()
        while self._thread.is_alive() and self._server.connections and time.monotonic() < began + seconds:
            time.sleep(_DRAIN_LOOK_SECONDS)
        log("shard_drained", shard=self._number, port=self._server.port, seconds=round(time.monotonic() - began, 3),
            connections=self._server.connections)

    def _run(self) -> None:
        import uvloop

        async def serve() -> None:
            await self._server.listen(self._host, 0)
            self._listening.set()
            await asyncio.Event().wait()

        try:
            uvloop.run(serve())
        except Exception as error:  # whatever it is, Serve has to hear of it
            self._problem = f"{type(error).__name__}: {error}"
            self._listening.set()
