"""Memory that is freed stays with the process, where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import torch
from model.training.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(1 << 24).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def settled():
    faults()
    return faults()
before = settled()
keep_freed_memory()
print(before, settled())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides this for itself")
def test_a_tensor_finds_the_pages_of_the_one_before():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 2  # a small block above a large one may cost its place once
