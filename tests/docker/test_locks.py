"""The versions in the images: pinned, with hashes, from any index, and what pyproject.toml allows."""

import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from tests.paths import ROOT

LOCKS = ROOT / "docker" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = {"serve": ["serve", "trace"], "serve-beams": ["serve", "trace", "beams"],
          "serve-cluster": ["serve", "trace", "cluster"], "train": ["train"], "load": ["load"]}
"""Lock -> the extras that it pins."""
PIN = re.compile(r"([a-z0-9-]+)==(\S+) ((?:--hash=sha256:[0-9a-f]{64} ?)+)")


def read_pins(path):
    """Package -> version and set of hashes; a line that is not a pin with hashes fails."""
    lines = re.sub(r" *\\\n *", " ", path.read_text()).splitlines()
    matches = [PIN.fullmatch(line) for line in lines if line[0] != "#"]
    assert matches
    assert all(matches), path
    return {match[1]: (match[2], set(match[3].split())) for match in matches}


def pins(lock):
    """Package -> version."""
    return {name: version for name, (version, _) in read_pins(LOCKS / f"{lock}.txt").items()}


@pytest.mark.parametrize(("name", "extras"), EXTRAS.items())
def test_lock_has_what_its_extras_ask_for_when_compared_with_pyproject(name, extras):
    pinned, project = pins(name), PROJECT["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    wanted = [Requirement(text) for text in texts]
    unfit = [f"{want}, locked is {pinned.get(canonicalize_name(want.name))}" for want in wanted
             if want.name != "torch" and not want.specifier.contains(pinned.get(canonicalize_name(want.name), "0"))]
    assert not unfit, f"{unfit}; run `make lock`"


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_of_the_service_excludes_torch(lock):
    assert not {name for name in pins(lock) if name == "torch" or name.startswith(("nvidia", "cuda", "triton"))}


@pytest.mark.parametrize("lock", ["build", *EXTRAS])
def test_lock_is_complete_and_its_hashes_are_of_the_index_when_it_is_resolved(lock, tmp_path):
    """A dependency without a pin, a version that another package refuses, or a wrong hash fails here before the image.

    Takes a second a lock, and the network. The index may have got more files of a version since.
    """
    wanted, found = tmp_path / "wanted.in", tmp_path / "found.txt"
    wanted.write_text("".join(f"{name}=={version}\n" for name, version in pins(lock).items()))
    resolve = [find_uv_bin(), "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate",
               "--only-binary", ":all:", "--python-version", "3.11", "--python-platform", "linux",
               "--excludes", str(LOCKS / "excludes.in"), str(wanted), "--output-file", str(found)]
    done = subprocess.run(resolve, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr[-2000:]}\nrun `make lock`"
    locked, there = (read_pins(path) for path in (LOCKS / f"{lock}.txt", found))
    assert {name: version for name, (version, _) in there.items()} == pins(lock), "run `make lock`"
    strange = [name for name, (_, hashes) in locked.items() if not hashes <= there[name][1]]
    assert not strange, f"{strange}; run `make lock`"


def test_serving_brings_no_pyarrow_unless_beams_are_recorded():
    assert set(pins("serve-beams")) - set(pins("serve")) == {"pyarrow"}


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
