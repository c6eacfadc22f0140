"""The loader: what is said where the kernel runs, and where it was not compiled or cannot be loaded."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from index_store.compiled.library import LEVELS, library
from tests.index_store.kernel.plain_scorer import compiled
from tests.paths import ROOT

PROGRAM = "from index_store.compiled.library import library; print(library().functions, library().note)"


def test_this_installation_has_the_kernel():
    assert compiled().note == f"compiled kernel, {LEVELS[library().level]}"


def test_the_processor_is_known_for_what_it_is():
    """What the system says of it: a compiler's own question found nothing, and every test of the kernel was skipped."""
    about = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not about.exists():
        pytest.skip("knows how to ask Linux on x86-64 alone")
    flags = set(next(line for line in about.read_text().splitlines() if line.startswith("flags")).split())
    assert library().level == (2 if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx2", "fma"} <= flags else
                               1 if {"avx2", "fma"} <= flags else 0)


@pytest.mark.parametrize(("file", "said"), [
    (None, "None the kernel was not compiled, since the installation found no C compiler"),
    (b"no library", "None the compiled kernel cannot be loaded (")])
def test_an_installation_without_the_kernel_says_so(tmp_path, file, said):
    shutil.copytree(ROOT / "index_store", tmp_path / "index_store", ignore=shutil.ignore_patterns("*.so"))
    if file is not None:
        (tmp_path / "index_store/compiled/_library.abi3.so").write_bytes(file)
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.startswith(said)
