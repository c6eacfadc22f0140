"""Binary record of a user embedding in Redis: a fixed little-endian layout with a version and a checksum.

    magic "MNUE" | layout version u16 | dimension u16 | dimension x float32 | crc32 of the key and all before it u32

The checksum covers the key, so that a record stored under another key is not accepted.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

LAYOUT_VERSION = 1
_MAGIC = b"MNUE"
_HEAD = struct.Struct("<4sHH")
_TAIL = struct.Struct("<I")


def pack(key: bytes, embedding: NDArray[np.float32]) -> bytes:
    """Encodes an embedding (1, Du) float32."""
    record = _HEAD.pack(_MAGIC, LAYOUT_VERSION, embedding.size) + embedding.astype("<f4", copy=False).tobytes()
    return record + _TAIL.pack(zlib.crc32(record, zlib.crc32(key)))


def unpack(key: bytes, record: bytes, dimension: int) -> NDArray[np.float32] | None:
    """Decodes an embedding (1, dimension) float32; None if `pack` did not write this record for this key."""
    if len(record) != _HEAD.size + 4 * dimension + _TAIL.size:
        return None
    content, (checksum,) = record[:-_TAIL.size], _TAIL.unpack(record[-_TAIL.size:])
    if _HEAD.unpack_from(content) != (_MAGIC, LAYOUT_VERSION, dimension):
        return None
    if zlib.crc32(content, zlib.crc32(key)) != checksum:
        return None
    return np.frombuffer(content, "<f4", offset=_HEAD.size).astype(np.float32, copy=False).reshape(1, dimension)
