"""The versions in the images: pinned, with hashes, from any index, and what pyproject.toml allows."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

LOCKS = ROOT / "docker" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = ("serve", "train", "load")
PIN = re.compile(r"([a-z0-9-]+)==(\S+) (--hash=sha256:[0-9a-f]{64} ?)+")


def pins(name):
    """Package -> version; a line that is no pin with hashes fails."""
    lines = re.sub(r" *\\\n *", " ", (LOCKS / f"{name}.txt").read_text()).splitlines()
    matches = [PIN.fullmatch(line) for line in lines if line[0] != "#"]
    assert matches
    assert all(matches), name
    return {match[1]: match[2] for match in matches}


@pytest.mark.parametrize("extra", EXTRAS)
def test_lock_has_what_its_extra_asks_for_when_compared_with_pyproject(extra):
    pinned = pins(extra)
    wanted = [Requirement(text) for text in
              [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"][extra]]]
    unfit = [f"{want}, locked is {pinned.get(canonicalize_name(want.name))}" for want in wanted
             if want.name != "torch" and not want.specifier.contains(pinned.get(canonicalize_name(want.name), "0"))]
    assert not unfit, f"{unfit}; run `make lock`"


@pytest.mark.parametrize("extra", EXTRAS)
def test_lock_leaves_torch_and_its_gigabytes_out_when_read(extra):
    assert not {name for name in pins(extra) if name == "torch" or name.startswith(("nvidia", "cuda", "triton"))}


def test_lock_of_the_build_fits_the_build_system_when_compared_with_pyproject():
    (want,) = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    assert want.specifier.contains(pins("build")[want.name])


@pytest.mark.parametrize("path", sorted(LOCKS.iterdir()), ids=lambda path: path.name)
def test_lock_names_no_index_when_read(path):
    assert "://" not in path.read_text()
    assert "--index" not in path.read_text()


def test_images_install_only_what_is_locked_when_built():
    for dockerfile in sorted((ROOT / "docker").glob("*.Dockerfile")):
        text = re.sub(r"\\\n", "", dockerfile.read_text())
        installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) ([^&\n]*)", text)
        free = [line for line in installs if "--require-hashes" not in line and "--no-index" not in line]
        assert free == (['--no-cache-dir "$TORCH"'] if dockerfile.name == "train.Dockerfile" else [])
