"""Counter-based random numbers: draw i of a stream is a function of (seed, stream, i), whatever was drawn before.

A world is therefore the same however many users are generated at a time, and adding users does not change the others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Draws:
    """All random numbers of one seed."""

    seed: int

    def uniform(self, stream: str, counters: NDArray[np.integer]) -> NDArray[np.float64]:
        """Uniform in [0, 1), one a counter, of the counters' shape."""
        start = _mix(np.array([self.seed & _MASK], np.uint64)) ^ np.uint64(zlib.crc32(stream.encode()) << 32)
        bits = _mix(_mix(counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + _mix(start)[0]))
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, stream: str, counters: NDArray[np.integer]) -> NDArray[np.float64]:
        """Standard normal, one a counter."""
        drawn: NDArray[np.float64] = ndtri(self.uniform(stream, counters) + 2.0**-54)
        return drawn

    def integers(self, stream: str, counters: NDArray[np.integer], n: int | NDArray[np.integer]) -> NDArray[np.int32]:
        """Uniform in 0 .. n - 1, one a counter; `n` may differ by counter."""
        return (self.uniform(stream, counters) * n).astype(np.int32)

    def chosen(self, stream: str, counters: NDArray[np.integer], weights: NDArray[np.float64]) -> NDArray[np.int32]:
        """Index drawn in proportion to `weights` (M,), one a counter."""
        ends = np.cumsum(weights)
        return np.searchsorted(ends / ends[-1], self.uniform(stream, counters), side="right").astype(np.int32)


def zipf(n: int, exponent: float) -> NDArray[np.float64]:
    """Weights (n,) that fall as rank^-exponent."""
    return np.arange(1, n + 1, dtype=np.float64) ** -exponent


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection of 64 bits that leaves no visible pattern."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
