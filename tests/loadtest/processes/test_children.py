"""Children: none outlives its block, and their ends and costs are reported."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from loadtest.processes.children import Children

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_children_end_with_the_block_the_last_first():
    ended = []
    with Children() as children:
        first, second = children.start(SLEEP), children.start(SLEEP, ending=signal.SIGINT)
        children._end, end = lambda process: ended.append(process) or end(process), children._end
        assert first.poll() is second.poll() is None
    assert ended == [second, first]
    assert first.returncode == -signal.SIGTERM
    assert second.returncode not in (None, 0)


def test_wait_reports_status_and_peak_memory():
    with Children() as children:
        ended = children.wait(children.start([sys.executable, "-c", "b = bytes(1 << 26); raise SystemExit(7)"]))
    assert ended.status == 7
    before_exec = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # a fork starts with the parent's memory
    assert 1 << 26 < ended.peak_bytes < before_exec + (1 << 28)


def interrupt(number):
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    time.sleep(5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_raise_one_keyboard_interrupt_and_the_children_end(number):
    before = signal.getsignal(number)
    with Children() as children:
        process = children.start(SLEEP)
        with pytest.raises(KeyboardInterrupt):
            interrupt(number)
    assert process.returncode == -signal.SIGTERM
    assert signal.getsignal(number) is before


def test_child_that_ignores_its_signal_is_killed_with_what_it_started(monkeypatch):
    monkeypatch.setattr("loadtest.processes.children._GRACE_SECONDS", 0.1)
    code = ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
            "time.sleep(60)")
    with Children() as children:
        process = children.start([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"deaf\n"
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
