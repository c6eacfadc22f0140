"""The Ray that the offline job works on: the cluster that RAY_ADDRESS names, else one of its own on this machine."""

from __future__ import annotations

import logging
import os
import re
import socket
from importlib.util import find_spec
from typing import Any

from model.config.errors import ConfigError

ADDRESS = "RAY_ADDRESS"

PROBE_SECONDS = 5.0
"""For a connection to the address; Ray itself tries for minutes, and then ends the process."""

STORE_BYTES = 500_000_000
"""Memory that a Ray of our own shares among its processes; what is beyond lies on disk."""


def connect(workers: int, oversubscribe: bool) -> float:
    """Connects to Ray, or starts one, and returns the cores that each worker may reserve.

    Args:
        workers: of one core each.
        oversubscribe: whether there may be more workers than cores.

    Raises:
        ConfigError: Ray is not installed, cannot be reached, has another version, or too few cores.
    """
    if find_spec("ray") is None or find_spec("tensorboardX") is None:
        raise ConfigError(f"{workers} workers need Ray, which is not installed; install it with "
                          "`pip install 'monn-hill[cluster]'`, or leave out --workers")
    address = os.environ.get(ADDRESS, "")
    if not address or address == "local":
        return _start(workers, oversubscribe)
    return _join(address, workers, oversubscribe)


def _start(workers: int, oversubscribe: bool) -> float:
    cores = len(os.sched_getaffinity(0))
    _check_cores(workers, cores, oversubscribe, "this machine")
    _init("local", num_cpus=max(workers, cores), include_dashboard=False, object_store_memory=STORE_BYTES)
    return 1.0


def _join(address: str, workers: int, oversubscribe: bool) -> float:
    import ray

    _probe(address)
    _init(address)
    cores = int(ray.cluster_resources().get("CPU", 0))
    _check_cores(workers, cores, oversubscribe, f"the Ray at {address}")
    return min(1.0, cores / workers)


def _init(address: str, **options: Any) -> None:
    """Starts or joins Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to its makers
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a lost worker ends the training either way
    import ray

    try:
        ray.init(address=address, logging_level=logging.ERROR, logging_config=ray.LoggingConfig(log_level="ERROR"),
                 **options)
    except RuntimeError as error:
        found = re.search(r"Ray: (\S+).*?Ray: (\S+)", str(error), re.DOTALL)
        if "ersion mismatch" not in str(error) or found is None:
            raise
        raise ConfigError(f"the Ray at {address} has version {found[1]}, this program {found[2]}, or their Pythons "
                          f"differ; install the same on both ({_line(error)})") from error
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"the Ray at {address}, which {ADDRESS} names, cannot be reached ({_line(error)}); start it, "
                          f"or unset {ADDRESS} to work on this machine alone") from error
    except Exception as error:  # a bare one, where a process of Ray gets no processor time
        if "timed out during startup" not in str(error):
            raise
        raise ConfigError(f"Ray has not come up on this machine ({_line(error)}); it gives its processes 15 s to "
                          "begin: try again when the machine is less busy") from error


def _probe(address: str) -> None:
    """Raises ConfigError if nobody listens at an address of the form host:port; Ray reads all others."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"the Ray at {address}, which {ADDRESS} names, cannot be reached ({error}); start it, or "
                          f"unset {ADDRESS} to work on this machine alone") from error


def _check_cores(workers: int, cores: int, oversubscribe: bool, where: str) -> None:
    if workers > cores and not oversubscribe:
        raise ConfigError(f"--workers is {workers}, but {where} has {cores} cores; give at most {cores}, or add "
                          "--oversubscribe to let workers share them")


def _line(error: Exception) -> str:
    """An error on one line."""
    return " ".join(str(error).split())
