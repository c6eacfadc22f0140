"""Commands in this process: for what they say and how they end, where no process is the question."""

import contextlib
import io
from subprocess import CompletedProcess


def run(main, *words) -> CompletedProcess:
    """Runs the `main` of a package to its end."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:  # a usage error, or help
            status = ended.code
    return CompletedProcess(words, status, out.getvalue(), err.getvalue())
