"""Frames between a root and its shards: a kind and some numpy arrays, with their length before them.

A frame is the length of what follows (uint32), the kind and the number of arrays (a byte each), for each array its type
and number of dimensions (a byte each) and its shape (uint32 each), and then the values of each array, which begin at a
multiple of 8 from the start of the frame. All numbers are little-endian. Nothing in a frame is executed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAD = struct.Struct("<I")

LARGEST = 1 << 26
"""Most bytes of a frame after its length: logits of four million items; a longer one is refused."""

_KIND, _ARRAY, _ALIGNED = struct.Struct("<BB"), struct.Struct("<BB"), 8
_TYPES = tuple(np.dtype(name) for name in ("<f4", "<f8", "<i4", "<i8", "|u1"))
_NUMBERS = {dtype: number for number, dtype in enumerate(_TYPES)}
_MOST_DIMENSIONS = 2


class Kind(IntEnum):
    """What a frame says: a root asks to OPEN its shard and to SCORE items, the rest are answers."""

    OPEN = 1
    OPENED = 2
    SCORE = 3
    LOGITS = 4
    LATE = 5
    REFUSED = 6


class FrameError(Exception):
    """What came is no frame."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A kind and its arrays, of float32, float64, int32, int64 or uint8 in one or two dimensions."""

    kind: Kind
    arrays: Sequence[NDArray[Any]] = ()

    @classmethod
    def of_text(cls, kind: Kind, text: str) -> Frame:
        return cls(kind, (np.frombuffer(text.encode(), np.uint8),))

    @property
    def text(self) -> str:
        return b"".join(map(bytes, self.arrays[:1])).decode(errors="replace")

    def packed(self) -> bytes:
        """The frame, its length before it."""
        arrays = [np.ascontiguousarray(array) for array in self.arrays]
        header = _KIND.pack(self.kind, len(arrays)) + b"".join(
            _ARRAY.pack(_NUMBERS[array.dtype], array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
            for array in arrays)
        parts, size = [header], HEAD.size + len(header)
        for array in arrays:
            gap = -size % _ALIGNED
            parts += [bytes(gap), array.tobytes()]
            size += gap + array.nbytes
        return b"".join([HEAD.pack(size - HEAD.size), *parts])

    @classmethod
    def unpacked(cls, body: bytearray | bytes) -> Frame:
        """A frame of what follows the length; its arrays lie in the body.

        Raises:
            FrameError: it is none.
        """
        try:
            return cls._unpacked(memoryview(body))
        except (struct.error, ValueError, IndexError) as error:
            raise FrameError(f"{len(body)} bytes are no frame ({error})") from error

    @classmethod
    def _unpacked(cls, body: memoryview) -> Frame:
        kind, count = _KIND.unpack_from(body)
        at, shapes = _KIND.size, []
        for _ in range(count):
            number, dimensions = _ARRAY.unpack_from(body, at)
            if dimensions > _MOST_DIMENSIONS:
                raise ValueError(f"an array has {dimensions} dimensions")
            shapes.append((_TYPES[number], struct.unpack_from(f"<{dimensions}I", body, at + _ARRAY.size)))
            at += _ARRAY.size + 4 * dimensions
        arrays = []
        for dtype, shape in shapes:
            at += -(at + HEAD.size) % _ALIGNED
            values = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(body, dtype, values, at).reshape(shape))
            at += values * dtype.itemsize
        if at != len(body):
            raise ValueError(f"its arrays end at {at}")
        return cls(Kind(kind), arrays)


def length_of(head: bytes | bytearray) -> int:
    """The number of bytes that follow a length.

    Raises:
        FrameError: they are too many.
    """
    length: int = HEAD.unpack(head)[0]
    if length > LARGEST:
        raise FrameError(f"a frame of {length:,} bytes was announced, at most {LARGEST:,} are allowed")
    return length
