"""`python -m service` in this process: for what it finds and says where no process is the question."""

import os
import socket
from subprocess import CompletedProcess

import pytest

from loadtest.processes.service_process import service_environment
from service.__main__ import main
from tests.commands import run


def service(*words, **environment) -> CompletedProcess:
    """Runs the command to its end, on a port that is taken: a service that should have refused to start fails too."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        port = str(taken.getsockname()[1])
        patch.setattr(os, "environ", service_environment(**{"RETRIEVAL_PORT": port, **environment}))
        return run(main, *words)
