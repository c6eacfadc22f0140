"""Clocks of logs: the types of their timestamps."""

from __future__ import annotations

import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def per_second(clock: pa.DataType) -> int:
    """Units of a timestamp in a second; integers are taken for seconds."""
    return _PER_SECOND[clock.unit] if pa.types.is_timestamp(clock) else 1
