"""The folded scorers of a bundle as arrays, beside their graphs: what the compiled kernel reads."""

from __future__ import annotations

import numpy as np

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.compiled.library import Library
from index_store.kernel.folded_weights import SHAPE, FoldedWeights, ShapeError, axes
from index_store.kernel.pair_kernel import PairKernel


def write_folded(writer: BundleWriter, layer: int, weights: FoldedWeights) -> None:
    """Writes the arrays of a layer's scorer, numbered from 1."""
    for name, values in weights.arrays().items():
        writer.array(layout.folded(layer, name), values)


def read_folded(files: BundleFiles, layer: int) -> FoldedWeights | None:
    """The arrays of a layer's scorer, numbered from 1; None if the bundle has its graph alone.

    Raises:
        BundleError: they fit neither one another nor the manifest.
    """
    shape, manifest = layout.folded(layer, SHAPE), files.manifest
    if shape not in manifest.files:
        return None
    prefix, suffix = layout.folded(layer, " ").split(" ")
    names = [name.removeprefix(prefix).removesuffix(suffix) for name in manifest.files if name.startswith(prefix)]
    try:
        weights = FoldedWeights.of_arrays({
            name: files.array(layout.folded(layer, name), np.int64 if name == SHAPE else np.float32,
                              (None,) * axes(name)) for name in names})
    except ShapeError as error:
        raise files.error(shape, str(error)) from error
    widths = {level.width for level in manifest.levels if level.scorer == layout.scorer(layer)}
    found = (weights.features, {weights.item_width}, len(weights.bias))
    expected = (manifest.dims["interaction"], widths, len(manifest.tasks))
    if found != expected or weights.user.stop > manifest.dims["user_embedding"]:
        raise files.error(shape, f"belongs to a scorer of (features, widths, tasks) {found} that reads "
                                 f"{weights.user.stop} numbers of the user, the manifest has {expected} and "
                                 f"{manifest.dims['user_embedding']}")
    return weights


def read_kernels(files: BundleFiles, library: Library) -> list[PairKernel | None]:
    """The compiled kernel of each scorer, coarse to fine; None for those that need their graph.

    Raises:
        BundleError: the arrays of a scorer do not fit.
    """
    weights = [read_folded(files, layer) for layer in range(1, len(files.manifest.scorers) + 1)]
    return [kernel_of(one, library) for one in weights]


def kernel_of(weights: FoldedWeights | None, library: Library) -> PairKernel | None:
    """The kernel of a scorer; None without arrays, or where no kernel runs."""
    return None if weights is None or library.functions is None else PairKernel(weights, library)
