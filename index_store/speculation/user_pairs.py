"""The pairs of one user as one value: positions of ads and their codes, in a record with a version and a checksum.

    magic "MNSP" | layout u16 | width u16 | pairs u32 | made at f64 | lives u32 | n x position u32 | n x width x int8 |
    crc32 of the key and all before it u32

The numbers are little-endian. The checksum covers the key, so that a record stored under another key is not accepted.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAYOUT_VERSION = 1
_MAGIC = b"MNSP"
_HEAD = struct.Struct("<4sHHIdI")
_TAIL = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class UserPairs:
    """What a foundation model said of pairs of one user, at some time.

    Attributes:
        positions: (n,) uint32 of the ads in the tree, ascending.
        codes: (n, width) int8.
        made_at: seconds since 1970.
        lives: seconds until it is too old.
    """

    positions: NDArray[np.uint32]
    codes: NDArray[np.int8]
    made_at: float
    lives: int

    def packed(self, key: bytes) -> bytes:
        """The record to store under a key."""
        n, width = self.codes.shape
        record = (_HEAD.pack(_MAGIC, LAYOUT_VERSION, width, n, self.made_at, self.lives)
                  + self.positions.astype("<u4").tobytes() + self.codes.tobytes())
        return record + _TAIL.pack(zlib.crc32(record, zlib.crc32(key)))

    @classmethod
    def unpacked(cls, key: bytes, record: bytes, width: int, n_items: int) -> UserPairs | None:
        """The pairs of a record; None if `packed` did not write it for this key, this width and so many ads."""
        if len(record) < _HEAD.size + _TAIL.size:
            return None
        content, (checksum,) = record[:-_TAIL.size], _TAIL.unpack(record[-_TAIL.size:])
        magic, version, stored, n, made_at, lives = _HEAD.unpack_from(content)
        if ((magic, version, stored) != (_MAGIC, LAYOUT_VERSION, width)
                or len(content) != _HEAD.size + n * (4 + width) or zlib.crc32(content, zlib.crc32(key)) != checksum):
            return None
        positions = np.frombuffer(content, "<u4", n, _HEAD.size)
        if not n or positions[-1] >= n_items or (positions[1:] <= positions[:-1]).any():
            return None
        codes = np.frombuffer(content, np.int8, n * width, _HEAD.size + 4 * n)
        return cls(positions, codes.reshape(n, width), made_at, lives)
