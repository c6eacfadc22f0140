"""Values of metrics in memory that all processes of a service share.

Takes the place of prometheus_client's mapped files, which a full disk or a removed folder breaks; see
docs/decisions/0015-metrics-in-shared-memory.md.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.reduction import DupFd
from typing import Any

import orjson
from prometheus_client import Gauge
from prometheus_client.metrics_core import Metric

_SIZE = 1 << 16
_WORD = 8
_USED, _VALUE = struct.Struct("=Q"), struct.Struct("=d")
_HEAD = struct.Struct("=dQ")  # of an entry: the value, the length of the key; the key follows, padded to whole words


class Region:
    """The values of one process, which alone writes them; every other process may read them at any time.

    The first word is the number of bytes in use; then come the entries, see `_HEAD`. It grows with the entries.

    Args:
        file: descriptor of the memory.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._map()
        self._places = {key: at for at, key, _ in entries(file)}

    def place(self, key: bytes) -> int:
        """Index in `values` of the value with this key, which is added if it is missing."""
        if key not in self._places:
            used = _USED.unpack_from(self._bytes)[0] or _WORD
            padded = key + b" " * (-len(key) % _WORD)
            end = used + _HEAD.size + len(padded)
            if end > len(self._bytes):
                os.ftruncate(self._file, 2 * max(len(self._bytes), end))
                self._map()
            self._bytes[used:end] = _HEAD.pack(0.0, len(key)) + padded
            self._bytes[:_WORD] = _USED.pack(end)  # last, because it makes the entry visible
            self._places[key] = used // _WORD
        return self._places[key]

    def reset_gauges(self) -> None:
        """Sets all gauges to 0; for the memory of a process that has ended."""
        for key, at in self._places.items():
            if key.startswith(_GAUGE):
                self.values[at] = 0.0

    def _map(self) -> None:
        self._bytes = mmap.mmap(self._file, os.fstat(self._file).st_size)
        self.values = memoryview(self._bytes).cast("d")


_GAUGE, _MAXIMUM = b'["gauge",', b'["gauge","livemax",'


def entries(file: int) -> Iterator[tuple[int, bytes, float]]:
    """(place, key, value) of every entry of a region."""
    used = _USED.unpack(os.pread(file, _WORD, 0))[0]
    data = os.pread(file, used, 0)
    at = _WORD
    while at < len(data):
        value, length = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        yield at // _WORD, data[start:start + length], value
        at = start + length + -length % _WORD


class SharedMemory:
    """A region for each process of a service; can be an argument of a process that is being spawned.

    Anonymous memory of the kernel: no path leads to it, no disk holds it, and it is gone with the last process.

    Args:
        files: a descriptor for each region.
    """

    def __init__(self, files: Sequence[int]) -> None:
        self.files = files

    @classmethod
    def create(cls, regions: int) -> SharedMemory:
        files = [os.memfd_create("metrics") for _ in range(regions)]
        for file in files:
            os.ftruncate(file, _SIZE)
        return cls(files)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, ([DupFd(file) for file in self.files],)


def _received(files: Sequence[Any]) -> SharedMemory:
    return SharedMemory([file.detach() for file in files])


class _Process:
    """Where this process keeps its values, and the shared memory; before `attach`, a region of this process alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: list[SharedValue] = []
        self.memory, self.number = SharedMemory.create(1), 0
        self.region = Region(self.memory.files[0])


class SharedValue:
    """One number; prometheus_client makes one for each counter, gauge and bucket, with each combination of labels."""

    _multiprocess = True

    def __init__(self, typ: str, metric_name: str, name: str, labelnames: Sequence[str], labelvalues: Sequence[str],
                 help_text: str, multiprocess_mode: str = "", **_: Any) -> None:
        labels = dict(zip(labelnames, labelvalues, strict=True))
        self.key = orjson.dumps([typ, multiprocess_mode, metric_name, name, labels, help_text])
        with _process.lock:
            self.place = _process.region.place(self.key)
            _process.values.append(self)

    def inc(self, amount: float) -> None:
        with _process.lock:
            _process.region.values[self.place] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _process.lock:
            _process.region.values[self.place] = value

    def get(self) -> float:
        return _process.region.values[self.place]

    def set_exemplar(self, exemplar: Any) -> None:
        """Exemplars are not kept."""

    def get_exemplar(self) -> None:
        return None


_process = _Process()


def attach(memory: SharedMemory, region: int) -> None:
    """Moves all values of this process into a region of the shared memory.

    Counters go on from what they find there, so that they never fall when a process is replaced.
    """
    with _process.lock:
        old, new = _process.region, Region(memory.files[region])
        for value in _process.values:
            number = old.values[value.place]
            value.place = new.place(value.key)
            if value.key.startswith(_GAUGE):
                new.values[value.place] = number
            else:
                new.values[value.place] += number
        _process.memory, _process.number, _process.region = memory, region, new


def process_number() -> int:
    """Number of this process: the index of its region."""
    return _process.number


class AcrossProcesses:
    """Reads one gauge in the regions of all processes, fast enough to be asked again and again.

    An entry never moves, so its place is looked for only where a region has grown since the last time.

    Args:
        gauge: that is read.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._name = next(iter(gauge.describe())).name
        self._known: dict[int, tuple[int, list[int]]] = {}

    def values(self) -> list[list[float]]:
        """The values in each region, whatever their labels are."""
        return [[_VALUE.unpack(os.pread(file, _WORD, place * _WORD))[0] for place in self._places(file)]
                for file in _process.memory.files]

    def _places(self, file: int) -> list[int]:
        used = _USED.unpack(os.pread(file, _WORD, 0))[0]
        known, places = self._known.get(file, (0, []))
        if known != used:
            places = [place for place, key, _ in entries(file)
                      if key.startswith(_GAUGE) and orjson.loads(key)[2] == self._name]
            self._known[file] = used, places
        return places


class SharedValues:
    """A collector for prometheus_client: values of all processes, summed or, for gauges of that mode, the maximum."""

    def collect(self) -> Iterator[Metric]:
        totals: dict[bytes, float] = {}
        for file in _process.memory.files:
            for _, key, value in entries(file):
                before = totals.get(key, 0.0)
                totals[key] = max(before, value) if key.startswith(_MAXIMUM) else before + value
        families: dict[str, Metric] = {}
        below: dict[tuple[str, ...], float] = {}
        for key, value in totals.items():
            kind, _, family, name, labels, help_text = orjson.loads(key)
            metric = families.setdefault(family, Metric(family, help_text, kind))
            if "le" not in labels:
                metric.add_sample(name, labels, value)
                continue
            # A bucket is kept by itself and shown with those below it; they were made in ascending order.
            others = {label: text for label, text in labels.items() if label != "le"}
            histogram = (family, *others.values())
            below[histogram] = value = value + below.get(histogram, 0.0)
            metric.add_sample(name, labels, value)
            if labels["le"] == "+Inf":
                metric.add_sample(f"{family}_count", others, value)
        yield from families.values()
