"""The demo as a process, on a world so small that it is up in seconds."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil

from loadtest.processes.logged_process import LoggedProcess
from tests.paths import ROOT

_CODE = """
import argparse, sys
from loadtest.demo import demo
parser = argparse.ArgumentParser()
demo.add_arguments(parser)
size = demo.WorldSize(*map(int, sys.argv[1].split(",")))
sys.exit(demo.run(parser.parse_args(sys.argv[2:]), size))
"""
TINY = (300, 200, 4_000, 0, 1, 1, 512, 20)


class DemoProcess(LoggedProcess):
    """A running demo.

    Args:
        log: file for its output.
        arguments: of the command line.
        size: fields of its WorldSize.
        environment: set in addition; REDIS_URL and the service's settings are not inherited.
    """

    patience = 300

    def __init__(self, log: Path, *arguments: object, size: tuple[int, ...] = TINY, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("RETRIEVAL_") and name != "REDIS_URL"}
        # One thread a process: on a busy machine the threads of small matrices mostly wait for each other.
        # And its service may wait long for Redis.
        super().__init__([sys.executable, "-c", _CODE, ",".join(map(str, size)), *map(str, arguments)], log,
                         environment={**kept, "OMP_NUM_THREADS": "1", "RETRIEVAL_REDIS_TIMEOUT_MS": "30000",
                                      **environment},
                         spawn=partial(subprocess.Popen, cwd=ROOT))

    @property
    def text(self) -> str:
        """All output so far."""
        return "".join(self.lines)

    def wait_for(self, text: str) -> str:
        """All output so far, once it holds the text."""
        return self.wait_until(lambda: self.text if text in self.text else "", f"it says {text!r}")

    def family(self) -> list[psutil.Process]:
        """All processes that descend from the demo."""
        return psutil.Process(self.process.pid).children(recursive=True)
