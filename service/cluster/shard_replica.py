"""A shard as a replica of Ray Serve, which places and restarts it. Roots talk to it at the address that it tells."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from service.cluster.opened_shards import OpenedShards
from service.cluster.shard_server import ShardServer
from service.retrieval.onnx_towers import DenseRun
from service.settings import read_settings

_START_SECONDS = 30.0


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
        self._host, self._problem = host, ""
        self._server = ShardServer(OpenedShards(Path(bundles), number, DenseRun(settings.kernel,
                                                                                settings.onnx_threads)))
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
