"""A folded scorer on the compiled kernel: the dense layers of a search, in one pass over each block of pairs."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.compiled.library import Library
from index_store.features.spectral import RANKS, RAW_OFFSET, RELATIVE_FACTOR, SPECTRAL_FEATURES, SpectralQueries
from index_store.features.spectral_vectors import ZERO, SpectralVectors
from index_store.kernel.folded_weights import FoldedWeights, ShapeError

PANEL = 4
"""Columns of a panel of weights, see `pairs.h`."""

WIDEST = 16
"""Floats of the widest vector: the user's numbers are followed by as many zeros, and more."""

Spectral = tuple[SpectralQueries, SpectralVectors]


class _Layer(ctypes.Structure):
    _fields_ = (("weights", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("ins", ctypes.c_int64),
                ("outs", ctypes.c_int64))


class _Model(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_int64) for name in ("dim", "user_tokens", "item_tokens", "tokens", "fm_tokens",
                                                      "features", "tasks", "hidden_layers")),
                ("hidden", ctypes.c_void_p), *((name, _Layer) for name in ("pair", "direct", "fm_in", "fm_out")),
                ("mix", ctypes.c_void_p), ("head", ctypes.c_void_p),
                ("products_epsilon", ctypes.c_float), ("tokens_epsilon", ctypes.c_float))


class _Spectral(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in ("values", "tail", "steps", "tail_steps", "popularity")),
                *((name, ctypes.c_int64) for name in ("width", "tail_width")),
                ("cuts", ctypes.c_int64 * (len(RANKS) + 1)),
                *((name, ctypes.c_void_p) for name in ("sums", "weighted")),
                *((name, ctypes.c_float) for name in ("tail_sum", "tail_weighted")), ("scales", ctypes.c_void_p),
                *((name, ctypes.c_float) for name in ("history", "relative_factor", "raw_offset")))


class _Call(ctypes.Structure):
    _fields_ = (("user", ctypes.c_void_p), ("items", ctypes.c_void_p), ("half", ctypes.c_int64),
                ("count", ctypes.c_int64), ("rows", ctypes.c_void_p), ("features", ctypes.c_void_p),
                ("spectral", ctypes.c_void_p), ("pairs", ctypes.c_int64), ("logits", ctypes.c_void_p))


class PairKernel:
    """The logits of one user with rows of an array of item parts.

    Args:
        weights: of the scorer.
        library: with the kernel in it.
    """

    def __init__(self, weights: FoldedWeights, library: Library) -> None:
        assert library.functions is not None, "whoever makes one has looked"
        self._weights, self._functions, self._level = weights, library.functions, library.level
        self._kept: list[Any] = []
        self._user = weights.user
        self._tasks = len(weights.bias)
        hidden = (_Layer * len(weights.hidden))(*(self._layer(*layer) for layer in weights.hidden))
        tokens, dim, _ = weights.head.shape
        padding = np.zeros(-(-self._tasks // PANEL) * PANEL, np.float32)
        self._model = _Model(dim, int(weights.shape[0]), int(weights.shape[1]), tokens, weights.fm.shape[1] // dim,
                             weights.features, self._tasks, len(weights.hidden), ctypes.addressof(hidden),
                             self._layer(weights.pair, weights.pair_bias), self._layer(weights.direct, weights.bias),
                             self._layer(weights.products, weights.products_bias),
                             self._layer(weights.fm, np.zeros(weights.fm.shape[1], np.float32)),
                             self._address(np.concatenate([weights.mix, padding])),
                             self._address(np.concatenate([_panels(part).ravel() for part in weights.head])),
                             *map(float, weights.epsilons))
        self._kept.append(hidden)

    def _layer(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> _Layer:
        return _Layer(self._address(_panels(weights)), self._address(_padded(bias, PANEL)), *weights.shape)

    def _address(self, values: NDArray[np.float32]) -> int:
        """Address of a copy that lives as long as the kernel."""
        kept = np.ascontiguousarray(values, np.float32)
        self._kept.append(kept)
        return _at(kept)

    def __call__(self, user: NDArray[np.float32], items: NDArray[Any],
                 interaction: NDArray[np.float32]) -> NDArray[np.float32]:
        """User part (1, Wu), item parts (C, Wi) float32 or float16 and features (C, F) -> logits (C, tasks)."""
        return self.rows(user, items, np.arange(len(items)), interaction)

    def rows(self, user: NDArray[np.float32], items: NDArray[Any], rows: NDArray[np.int64],
             interaction: NDArray[np.float32], spectral: Spectral | None = None) -> NDArray[np.float32]:
        """The same for rows (C,) of item parts (N, Wi), which are read where they are.

        Args:
            user: (1, Wu).
            items: (N, Wi) float32 or float16.
            rows: (C,) of them, in any order.
            interaction: (C, F), but for the spectral features where these are to be computed.
            spectral: the user's vector, one row, and those of all N; None if `interaction` is complete.

        Raises:
            IndexError: a row is not one of the N.
        """
        own = np.ascontiguousarray(user[0, self._user], np.float32)
        interaction = np.ascontiguousarray(interaction, np.float32)
        rows, items = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(items)
        logits = np.empty((len(rows), self._tasks), np.float32)
        kept = None if spectral is None else _spectral(*spectral)
        known = self._weights.features - (0 if kept is None else len(SPECTRAL_FEATURES))
        found = (len(own), items.shape[1], interaction.shape)
        expected = (self._user.stop - self._user.start, self._weights.item_width, (len(rows), known))
        if found != expected:
            raise ShapeError(f"user, items and features of {len(rows)} pairs have the widths and shape {found}, "
                             f"expected {expected}")
        call = _Call(_at(own), _at(items), items.dtype == np.float16, len(items), _at(rows), _at(interaction),
                     None if kept is None else ctypes.addressof(kept[0]), len(rows), _at(logits))
        failed = self._functions.score(ctypes.c_int64(self._level), ctypes.byref(self._model), ctypes.byref(call))
        if failed == -1:
            raise MemoryError("no memory for a block of pairs")
        if failed:
            raise IndexError(f"the rows of {len(rows)} pairs must lie in 0..{len(items) - 1}")
        return logits


def _spectral(queries: SpectralQueries, vectors: SpectralVectors) -> tuple[_Spectral, list[NDArray[Any]]]:
    """What the kernel reads of spectral vectors, and the arrays that have to live as long."""
    width = vectors.values.shape[1]
    queried = np.zeros((2, vectors.directions + 2 * WIDEST), np.float32)
    queried[0, :vectors.directions], queried[1, :vectors.directions] = queries.sums[0], queries.weighted[0]
    tail_sum, tail_weighted = ZERO * queried[:, width:].sum(axis=1)
    arrays = [*map(np.ascontiguousarray, (vectors.values, vectors.tail, vectors.steps, vectors.tail_steps,
                                          vectors.popularity)), queried[0], queried[1],
              np.ascontiguousarray(queries.scales[0])]
    *of_items, sums, weighted, scales = map(_at, arrays)
    return _Spectral(*of_items, width, vectors.tail.shape[1], _cuts(width), sums, weighted, float(tail_sum),
                     float(tail_weighted), scales, float(queries.history[0]), RELATIVE_FACTOR, RAW_OFFSET), arrays


@cache
def _cuts(width: int) -> ctypes.Array[ctypes.c_int64]:
    """Where the products by rank end in vectors of this width."""
    return (ctypes.c_int64 * (len(RANKS) + 1))(*(min(rank, width) for rank in (*RANKS, width)))


def _at(values: NDArray[Any]) -> int:
    """Address of an array's first element; `values.ctypes` takes three times as long."""
    address: int = values.__array_interface__["data"][0]
    return address


def _padded(values: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Values (N,), followed by zeros up to a multiple; `np.pad` takes as long as some fifty pairs."""
    if len(values) % multiple == 0:
        return np.ascontiguousarray(values, np.float32)
    padded = np.zeros(-(-len(values) // multiple) * multiple, np.float32)
    padded[:len(values)] = values
    return padded


def _panels(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A matrix (in, out) as panels (ceil(out / PANEL), in, PANEL), the last one padded with zeros."""
    ins, outs = weights.shape
    padded = np.pad(weights, ((0, 0), (0, -outs % PANEL)))
    return padded.reshape(ins, -1, PANEL).transpose(1, 0, 2)
