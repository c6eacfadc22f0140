"""Commands as users run them."""

import os
import subprocess
import sys


def command(*words, code=0):
    """Runs `python -m …` on one thread; returns its output, or with an exit status of `code` what it said on stderr."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout if code == 0 else done.stderr
