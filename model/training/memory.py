"""Memory: keeps what a training step frees in the process, for the next step.

By default glibc returns large blocks to the system at once, so every step faults in the pages of all its tensors again:
a fifth of the processor time of training a large model on two cores (docs/experiments.md, 2026-11-25).
"""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of `mallopt(3)`."""


def keep_freed_memory() -> None:
    """Makes this process keep memory that it frees; does nothing if the C library is not glibc."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
