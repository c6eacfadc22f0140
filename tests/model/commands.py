"""Commands as users run them: in a process of their own, or without one where only the command is the question."""

import contextlib
import io
import os
import subprocess
import sys

from model.__main__ import main


def command(*words, code=0):
    """Runs `python -m …` on one thread; returns its output, or with an exit status of `code` what it said on stderr."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout if code == 0 else done.stderr


def model(*words, code=0):
    """The same for `python -m model …` in this process, which has loaded torch already."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    assert status == code, err.getvalue()[-3000:]
    return out.getvalue() if code == 0 else err.getvalue()
