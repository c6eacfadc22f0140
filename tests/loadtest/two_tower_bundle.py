"""The tiny bundle with a scorer that is blind to the pair: two towers and a dot product."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from index_store.bundle import layout
from index_store.bundle.files import BundleWriter
from tests.resealed import reseal


def write_two_tower_bundle(source: Path, target: Path) -> Path:
    """Copies a tiny bundle without the weights of its interaction features."""

    def blind(writer: BundleWriter) -> None:
        path = writer.path(layout.scorer(1))
        model = onnx.load(path)
        for constant in model.graph.initializer:
            if constant.name == "interaction_weights":
                constant.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(constant)),
                                                          constant.name))
        onnx.save(model, path)

    reseal(source, target, blind)
    return target
