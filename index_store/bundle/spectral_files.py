"""Spectral towers in a bundle's files: vectors of each level, and how a history becomes a user's vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.features.spectral import SpectralTowers
from index_store.features.spectral_vectors import SpectralVectors
from index_store.tree.tree import Tree


def write_spectral(writer: BundleWriter, towers: SpectralTowers, nodes: Sequence[SpectralVectors]) -> None:
    """Writes the towers, their items in tree order, and the vectors of the levels above the items."""
    writer.array(layout.SPECTRAL_WEIGHTS, towers.weights)
    writer.array(layout.SPECTRAL_STRENGTHS, towers.strengths)
    for level, vectors in enumerate((*nodes, towers.items), start=1):
        write_vectors(writer, level, vectors)


def write_vectors(writer: BundleWriter, level: int, vectors: SpectralVectors) -> None:
    """Writes the vectors of a level."""
    writer.array(layout.spectral("values", level), vectors.values)
    writer.array(layout.spectral("steps", level), vectors.steps)
    writer.array(layout.spectral("popularity", level), vectors.popularity)
    if vectors.tail.shape[1]:
        writer.array(layout.spectral("tail", level), vectors.tail)
        writer.array(layout.spectral("tail_steps", level), vectors.tail_steps)


def read_spectral(files: BundleFiles, tree: Tree) -> tuple[SpectralTowers, tuple[SpectralVectors, ...]]:
    """The towers, their items in tree order, and the vectors of the levels above the items.

    Raises:
        BundleError: an array is missing or does not fit the others.
    """
    strengths = files.array(layout.SPECTRAL_STRENGTHS, np.float32, (None,))
    *nodes, items = (read_vectors(files, level, tree.size(level), len(strengths)) for level in range(1, tree.depth + 1))
    return SpectralTowers(items, _weights(files, items), strengths, tree.position_of_row), tuple(nodes)


def read_vectors(files: BundleFiles, level: int, rows: int, directions: int) -> SpectralVectors:
    """Vectors of a level, whose head and tail together have the given number of directions.

    Raises:
        BundleError: an array is missing or does not fit the others.
    """
    if layout.spectral("tail", level) in files.manifest.files:
        tail = files.array(layout.spectral("tail", level), np.uint8, (rows, None))
        tail_steps = files.array(layout.spectral("tail_steps", level), np.float32, (rows,))
    else:
        tail, tail_steps = np.empty((rows, 0), np.uint8), np.zeros(rows, np.float32)
    return SpectralVectors(
        files.array(layout.spectral("values", level), np.int8, (rows, directions - 2 * tail.shape[1])),
        files.array(layout.spectral("steps", level), np.float32, (rows,)), tail, tail_steps,
        files.array(layout.spectral("popularity", level), np.float32, (rows,)))


def _weights(files: BundleFiles, items: SpectralVectors) -> NDArray[np.float32]:
    """Weights of the items' vectors; before version 8 they were multiplied by the steps."""
    rows = (len(items),)
    if files.manifest.format_version >= 8:
        stored: NDArray[np.float32] = files.array(layout.SPECTRAL_WEIGHTS, np.float32, rows)
        return stored
    weights: NDArray[np.float32] = np.zeros(rows, np.float32)
    discounts = files.array(layout.SPECTRAL_DISCOUNTS, np.float32, rows)
    np.divide(discounts, items.steps, out=weights, where=items.steps > 0)
    return weights
