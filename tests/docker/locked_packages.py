"""A process that sees only what an image has: the packages of a lock, and the folders of ours that are copied."""

import json
import os
import re
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.paths import ROOT

_OURS = {"index_store", "model", "service", "loadtest"}
_FINDER = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

HIDDEN = set({hidden})

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Finder]
"""


def locked_environment(image: str, lock: str, folder: Path) -> dict[str, str]:
    """Environment variables under which Python programs find no package that the image would lack.

    Args:
        image: `service` for docker/service.Dockerfile, and so on.
        lock: file in docker/requirements, without its ending.
        folder: an empty one, for the module that hides the others; Python imports it at start.
    """
    pinned = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "docker" / "requirements" / f"{lock}.txt").read_text()))
    hidden = {module for module, distributions in packages_distributions().items()
              if not pinned & {canonicalize_name(name) for name in distributions}}
    copied = set(re.findall(r"(?m)^COPY (\w+) \1$", (ROOT / "docker" / f"{image}.Dockerfile").read_text()))
    names = json.dumps(sorted((hidden | _OURS) - copied))
    (folder / "sitecustomize.py").write_text(_FINDER.format(hidden=names))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
