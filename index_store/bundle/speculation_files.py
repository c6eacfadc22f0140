"""Files of speculation: autoencoder and adapter of a foundation model, checked before use. Most bundles have none."""

from __future__ import annotations

import numpy as np

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.speculation.adapter import RUNGS, Adapter, Speculation
from index_store.speculation.pair_codes import PairCodes


def write_speculation(writer: BundleWriter, speculation: Speculation) -> None:
    """Writes all arrays, and the hash of the foundation model."""
    writer.json(layout.SPECULATION, {"foundation": speculation.foundation})
    codes, adapter = speculation.codes, speculation.adapter
    for name, values in (("mean", codes.mean), ("axes", codes.axes), ("steps", codes.steps),
                         ("weights", adapter.weights), ("bias", adapter.bias)):
        writer.array(layout.speculation(name), values.astype(np.float32))


def read_speculation(files: BundleFiles) -> Speculation | None:
    """What the bundle holds to use the pairs of a foundation model; None if it holds nothing.

    Raises:
        BundleError: a file is missing, malformed or does not fit the others.
    """
    if layout.SPECULATION not in files.manifest.files:
        return None
    named, tasks = files.json(layout.SPECULATION), len(files.manifest.tasks)
    model = named.get("foundation") if isinstance(named, dict) else None
    if not isinstance(model, str) or not model:
        raise files.error(layout.SPECULATION, f"says {named!r}, it should have the hash of a foundation model as "
                                              "`foundation`")
    mean = files.array(layout.speculation("mean"), np.float32, (None,))
    axes = files.array(layout.speculation("axes"), np.float32, (len(mean), None))
    width = tasks + axes.shape[1]
    steps = files.array(layout.speculation("steps"), np.float32, (width,))
    if not (steps > 0).all():
        raise files.error(layout.speculation("steps"), f"has a step of {steps.min()}, all must be above 0")
    weights = files.array(layout.speculation("weights"), np.float32, (len(RUNGS), width, tasks))
    bias = files.array(layout.speculation("bias"), np.float32, (len(RUNGS), tasks))
    for name, values in (("mean", mean), ("axes", axes), ("steps", steps), ("weights", weights), ("bias", bias)):
        if not np.isfinite(values).all():
            raise files.error(layout.speculation(name), "has numbers that are not finite")
    return Speculation(model, PairCodes(mean, axes, steps), Adapter(weights, bias))
