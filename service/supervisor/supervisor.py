"""The supervisor process: verifies the first bundle, binds the address, and runs the workers until a stop signal."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from index_store.bundle import pointer
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from service.bundles.control_channel import Drain, Release
from service.live.log_place import with_log_beside
from service.sampling.beam_files import check_folder
from service.settings import Settings, variable
from service.shards.shard_access import ShardAccess, checked
from service.supervisor.processes import Processes
from service.telemetry.request_log import log, log_libraries

if TYPE_CHECKING:
    from service.supervisor.promotion import Promotion
    from service.supervisor.workers import Workers


class ListenError(Exception):
    """The service cannot listen on its address; the message names it and the reason."""


def serve(folder: Path, settings: Settings) -> int:
    """Runs the service until SIGTERM or SIGINT.

    Args:
        folder: a bundle, or a folder of bundles with a pointer.
        settings: of the service.

    Returns:
        Exit status: 0 after a signal, 1 if the workers cannot start.

    Raises:
        BundleError: the bundle is broken, and so is the one that the pointer names as the one before.
        PointerError: the pointer is missing or unreadable.
        ListenError: the address cannot be bound.
        BeamFolderError: beams are to be recorded, and their folder cannot be written.
        SettingsError: Redis, or the change log, can never be used as it is set.
    """
    if settings.beam_sample_rate and settings.beam_folder is not None:
        check_folder(settings.beam_folder)
    if settings.redis_url is not None:
        from service.cache.redis_connection import check_redis  # only where it is used: it takes time and memory

        check_redis(settings)
    store = folder if pointer.is_bundle_folder(folder) else None
    settings = with_log_beside(settings, store)
    first = _first(store, folder, ShardAccess.of(settings))
    processes = Processes()
    with open_address(settings) as listening:
        log_libraries()
        from service.supervisor.promotion import Promotion
        from service.supervisor.workers import StartFailedError, Workers

        host, port = listening.getsockname()[:2]
        log("listening", host=host, port=port, workers=settings.workers, bundle_id=first.bundle_id)
        workers = Workers(processes, settings, listening)
        promotion = Promotion(store, first, workers, processes, settings)
        try:
            with _stop_signals() as stop:
                _run(workers, promotion, stop, settings)
        except StartFailedError:
            return 1
        finally:
            promotion.end()
            listening.close()  # or it would still queue connections that nobody accepts
            workers.end()
    return 0


def _run(workers: Workers, promotion: Promotion, stop: int, settings: Settings) -> None:
    """Keeps workers running and on the right bundle until a stop signal, then drains."""
    drained_at: float | None = None
    promotion.tick()  # reads the pointer before any call comes, however late this process gets its turn
    while drained_at is None or time.monotonic() < drained_at:
        if drained_at is None:
            workers.start_due(promotion.target)
        due = workers.next_start if drained_at is None else drained_at
        seconds = math.inf if due is None else max(0.0, due - time.monotonic())
        ready = wait([stop, *workers.sources, *promotion.sources], min(seconds, settings.pointer_poll_seconds))
        heard = list(workers.received(ready))
        if stop in ready:
            number = os.read(stop, 1)[0]
            if drained_at is not None or number == signal.SIGINT:
                return  # a second signal, or Ctrl-C: do not wait
            log("draining", seconds=settings.drain_seconds)
            workers.tell(Drain())
            drained_at = time.monotonic() + settings.drain_seconds
        try:
            for worker, message in heard:
                promotion.heard(worker, message)
            promotion.tick()
        except Exception:  # a defect here must not stop the workers
            log("supervisor_failed", traceback=traceback.format_exc())


def _first(store: Path | None, folder: Path, shards: ShardAccess | None) -> Release:
    """The bundle to start with, all of its files verified, so that workers need not verify them again."""
    if store is None:
        return _sound(folder.resolve(), shards)
    current = pointer.read(store)
    try:
        return _sound(store / current.bundle, shards)
    except BundleError as error:
        if current.previous is None:
            raise
        # The replicas that refused this bundle still serve the previous one; a replica that starts now does the same.
        log("bundle_refused", bundle=current.bundle, reason=str(error), fault="broken")
        return _sound(store / current.previous, shards)


def _sound(folder: Path, shards: ShardAccess | None) -> Release:
    opened = Bundle.open(folder)
    if opened.content.shards is not None:
        checked(opened, shards)
    return Release(folder.name, folder, opened.bundle_id)


def open_address(settings: Settings) -> socket.socket:
    """A socket bound to the address. Only workers listen on it, so until one can accept, callers are refused at once.

    Raises:
        ListenError: the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM,
                                                                flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a host name, such as `a..b`
        raise _cannot_listen(settings, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise _cannot_listen(settings, error) from error
    return listening


def _cannot_listen(settings: Settings, error: OSError | UnicodeError) -> ListenError:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    reason = error.strerror if isinstance(error, OSError) else error
    return ListenError(f"cannot listen on {host}:{settings.port} ({reason}); choose another address with "
                       f"--host and --port, or {variable('host')} and {variable('port')}")


@contextmanager
def _stop_signals() -> Iterator[int]:
    """A file descriptor from which the number of each SIGTERM and SIGINT can be read."""
    reader, writer = os.pipe()
    before = {number: signal.signal(number, lambda received, _: os.write(writer, bytes([received])))
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
