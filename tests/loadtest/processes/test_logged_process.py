"""A child process that is followed by its log."""

import os
import signal
import sys

import pytest

from loadtest.processes.logged_process import LoggedProcess, ProcessEndedError, tail


def started(tmp_path, code):
    return LoggedProcess([sys.executable, "-u", "-c", code], tmp_path / "log", environment=os.environ)


def test_lines_are_those_of_this_process_once_they_are_finished(tmp_path):
    (tmp_path / "log").write_text("of an earlier process\n")
    code = "import sys, time; print('first'); sys.stderr.write('half'); sys.stderr.flush(); time.sleep(600)"
    with started(tmp_path, code) as process:
        process.wait_until(lambda: (tmp_path / "log").read_text().endswith("half"))
        assert process.lines == ["first\n"]
        assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    assert process.lines == ["first\n"]
    assert tail(tmp_path / "log") == "of an earlier process\nfirst\nhalf"


def test_wait_ends_with_the_end_of_the_log_when_the_process_ends(tmp_path):
    with (started(tmp_path, "print('out of luck'); raise SystemExit(3)") as process,
          pytest.raises(ProcessEndedError, match=r"ended by itself with exit status 3; [^\n]*\nout of luck")):
        process.wait_until(lambda: False)
    assert process.finish() == 3


def test_wait_returns_what_the_condition_finds_although_the_process_has_ended(tmp_path):
    with started(tmp_path, "print('done')") as process:
        process.process.wait()
        assert process.wait_until(lambda: process.lines) == ["done\n"]


def test_wait_names_what_it_waited_for_when_its_time_is_over(tmp_path):
    with started(tmp_path, "import time; print('busy'); time.sleep(600)") as process:
        process.wait_until(lambda: process.lines)
        process.patience = 0.05
        with pytest.raises(TimeoutError, match=r"waited 0.05 s in vain until it is ready; [^\n]*\nbusy"):
            process.wait_until(lambda: False, "it is ready")
        process.patience = 60


def test_block_stops_the_process_and_raises_when_it_ignores_the_signal(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    with started(tmp_path, code) as process:
        process.wait_until(lambda: process.lines)
        process.patience = 0.05
        with pytest.raises(TimeoutError, match=r"did not end within 0.05 s"):
            process.stop()
        process.patience = 60
        process.stop(signal.SIGKILL)
    assert process.process.returncode == -signal.SIGKILL
