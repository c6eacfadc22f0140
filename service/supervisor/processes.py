"""How the supervisor starts the other processes of a service."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

from service.telemetry.request_log import log

_TEMPLATE = "service.supervisor.template"


class Processes:
    """Starts processes as copies of one that has imported what they need, which saves that time, and shares the memory.

    That one listens on a socket in the temporary folder. If the folder is missing, or was cleaned, a process starts
    from nothing, as slowly as it would without.
    """

    def __init__(self) -> None:
        self._copies = multiprocessing.get_context("forkserver")
        self._copies.set_forkserver_preload([_TEMPLATE])
        with suppress(OSError):
            forkserver.ensure_running()  # it imports while the supervisor goes on

    def start(self, target: Callable[..., None], *args: Any, daemon: bool = False) -> BaseProcess:
        """Starts a process that calls `target` with these arguments; the supervisor's end ends one that is a daemon."""
        process: BaseProcess = self._copies.Process(target=target, args=args, daemon=daemon)
        try:
            process.start()
        except OSError as error:
            log("process_not_forked", reason=str(error))
            process = multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=daemon)
            process.start()
        return process
