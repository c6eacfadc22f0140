"""Commands as users run them: in a process of their own, or without one where only the command is the question."""

import os
import subprocess
import sys

from index_store.__main__ import main as index_store
from loadtest.__main__ import main as loadtest
from model.__main__ import main as model_main
from service.__main__ import main as service
from tests.commands import run


def command(*words, code=0):
    """Runs `python -m …` on one thread; returns its output, or with an exit status of `code` what it said on stderr."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    return _said(done, code)


def here(package, *words, code=0):
    """The same in this process, which has loaded torch and the rest already."""
    mains = {"model": model_main, "index_store": index_store, "loadtest": loadtest, "service": service}
    return _said(run(mains[package], *words), code)


def model(*words, code=0):
    """The same for `python -m model …`."""
    return here("model", *words, code=code)


def _said(done, code):
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout if code == 0 else done.stderr
