"""A folder of tiny bundles that tell themselves apart by what they answer, and ways to break one."""

import json
import shutil
from pathlib import Path

import numpy as np

from index_store.bundle import pointer
from index_store.bundle.manifest import FORMAT_VERSION
from index_store.bundle.pointer import Pointer
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle

NAMES = ("red", "green", "blue")


class BundleStore:
    """Three bundles of different seeds: other scores and other ads for the same user. The first one is current.

    Attributes:
        ids: name -> bundle_id.
    """

    def __init__(self, folder: Path, ids: dict[str, str]) -> None:
        self.folder, self.ids = folder, ids

    @classmethod
    def write(cls, folder: Path) -> "BundleStore":
        ids = {name: write_tiny_bundle(folder / name, seed=seed, n_items=300 - 20 * seed).bundle_id
               for seed, name in enumerate(NAMES)}
        pointer.replace(folder, Pointer(NAMES[0]), None)
        return cls(folder, ids)

    def copy(self, folder: Path) -> "BundleStore":
        return BundleStore(shutil.copytree(self.folder, folder), self.ids)

    def point_to(self, name: str) -> None:
        """Moves the pointer, as a person or another replica would."""
        before = pointer.read_if_any(self.folder)
        pointer.replace(self.folder, Pointer(name) if before is None else before.to(name), before)

    def named(self) -> Pointer:
        return pointer.read(self.folder)

    def add_wrong(self, name: str) -> None:
        """A bundle that is sealed in order and answers its golden requests wrongly."""
        def other_scores(writer):
            embeddings = np.load(writer.path("tree/embeddings_3.npy"))
            writer.array("tree/embeddings_3.npy", embeddings + np.float32(1))

        reseal(self.folder / "green", self.folder / name, other_scores)

    def add_broken(self, name: str, file: str = "scorer_1.onnx", how: str = "one bit flipped") -> None:
        """A copy of `green` with a damaged file."""
        shutil.copytree(self.folder / "green", self.folder / name)
        break_file(self.folder / name / file, how)


def break_file(path: Path, how: str) -> None:
    """Damages a file of a bundle."""
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one bit flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    elif how == "newer":
        path.write_text(json.dumps(json.loads(content) | {"format_version": FORMAT_VERSION + 1}))
    else:
        raise ValueError(how)
