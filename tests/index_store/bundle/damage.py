"""Refusals of damaged bundles, and what bundles hold, compared to the bit."""

import dataclasses

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError, LevelEntry, SearchDefaults

ENTRIES = {"dims": {}, "tasks": ("click",), "calibrated": True, "levels": (LevelEntry(1, 1, "scorer_1.onnx", 4, True),),
           "counts": {"items": 1, "users": 0}, "search": SearchDefaults((), 1)}


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert str(folder) in str(caught.value)
    assert caught.value.file in str(caught.value)
    return caught.value


def same(left, right):
    """Whether two contents hold the same, arrays to the bit."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    return left == right
