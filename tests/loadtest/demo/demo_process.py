"""The demo as a process, on a world so small that it is up in seconds."""

import os
import subprocess
import sys
import threading
import time

import psutil

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
SECONDS = 150


class DemoProcess:
    """A running demo.

    Args:
        arguments: of the command line.
        size: fields of its WorldSize.
        environment: set in addition; REDIS_URL and the service's settings are not inherited.
    """

    def __init__(self, *arguments: object, size: tuple[int, ...] = TINY, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("RETRIEVAL_") and name != "REDIS_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CODE, ",".join(map(str, size)), *map(str, arguments)], cwd=ROOT, text=True,
            # One thread a process: on a busy machine the threads of small matrices mostly wait for each other.
            env={**kept, "OMP_NUM_THREADS": "1", **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str) -> str:
        """All output so far, once it holds the text."""
        deadline = time.monotonic() + SECONDS
        while text not in self.text:
            alive = self._reader.is_alive()
            if time.monotonic() > deadline or (not alive and text not in self.text):
                raise AssertionError(f"no {text!r} in:\n{self.text}")
            time.sleep(0.05)
        return self.text

    def end(self, number: int) -> int:
        """Sends a signal and returns the exit status."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Waits for the end, and that of all output."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status

    def family(self) -> list[psutil.Process]:
        """All processes that descend from the demo."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def __enter__(self) -> "DemoProcess":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.finish()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.text += line
