"""`python -m service` in this process: for what it finds and says where no process is the question."""

import contextlib
import io
import os
import socket
from subprocess import CompletedProcess

import pytest

from loadtest.processes.service_process import service_environment
from service.__main__ import main


def service(*words, **environment) -> CompletedProcess:
    """Runs the command to its end, on a port that is taken: a service that should have refused to start fails too."""
    out, err = io.StringIO(), io.StringIO()
    with (socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch,
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
        port = str(taken.getsockname()[1])
        patch.setattr(os, "environ", service_environment(**{"RETRIEVAL_PORT": port, **environment}))
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:
            status = ended.code
    return CompletedProcess(words, status, out.getvalue(), err.getvalue())
