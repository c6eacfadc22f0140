"""The log when nobody reads it: answers go on, lines are dropped and counted, and the end is not held up."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from service.telemetry import metrics
from service.telemetry.request_log import _Writer
from tests.paths import ROOT
from tests.service.service_process import ServiceProcess

F_SETPIPE_SZ = 1031
QUEUED = 4096


class UnreadService(ServiceProcess):
    """A service whose stderr, a pipe of one page, is not read from the moment it is ready until `read_on` is set."""

    def __init__(self, bundle, **options):
        self.read_on = threading.Event()
        super().__init__(bundle, spawn=self._spawn, **options)

    def _spawn(self, command, *, stderr, **options):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
        fcntl.fcntl(process.stderr, F_SETPIPE_SZ, 4096)
        threading.Thread(target=self._pass_on, args=(process.stderr, os.dup(stderr.fileno())), daemon=True).start()
        return process

    def _pass_on(self, pipe, log):
        """Copies the lines to the file of the log."""
        ready = 0
        with pipe, open(log, "wb", buffering=0) as file:
            for line in pipe:
                file.write(line)
                ready += b'"bundle_ready"' in line
                if ready == 2:
                    self.read_on.wait()

    def stop(self, number=signal.SIGTERM):
        self.read_on.set()
        return super().stop(number)


def ask_livez(process, times):
    """Sends requests in a row on one connection, and returns once all are answered."""
    url = process.http.base_url
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        stream = connection.makefile("rb")
        for _ in range(times // 100):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n" * 100)
            for _ in range(100):
                assert stream.readline().startswith(b"HTTP/1.1 200 ")
                while stream.readline() != b"\r\n":
                    pass
                assert stream.read(len(b'{"status":"alive"}')) == b'{"status":"alive"}'


def dropped(process):
    return process.metrics()["retrieval_log_lines_dropped_total"]


def active_workers(process):
    """How many workers serve; None where the connection was one to a worker that is gone."""
    try:
        return next(value for name, value in process.metrics().items() if name.startswith("retrieval_bundle_active{"))
    except httpx.TransportError:
        return None


def test_answers_go_on_when_nobody_reads_stderr(tiny_bundle):
    with UnreadService(tiny_bundle, workers=2) as process:
        asked = 0
        while not dropped(process):
            ask_livez(process, 500)
            asked += 500
            assert asked <= 4 * QUEUED
        assert process.retrieve(user_id="user-01")["ads"]
        assert active_workers(process) == 2
        os.kill(process.worker_ids()[0], signal.SIGKILL)  # the supervisor logs that, and goes on
        process.wait_until(lambda: active_workers(process) == 1)
        process.wait_until(lambda: active_workers(process) == 2)
        process.read_on.set()
        process.wait_for_event("worker_ended")
        process.retrieve(user_id="user-02")  # logged again, once there is room
        process.wait_until(lambda: [e for e in process.events if e.get("endpoint") == "/retrieve"])
        assert {e["event"] for e in process.events} == {"listening", "bundle_ready", "request", "worker_ended"}


def test_service_ends_in_order_when_nobody_reads_stderr(tiny_bundle):
    with UnreadService(tiny_bundle, workers=2) as process:
        ask_livez(process, 200)
        began = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(60) == 0
        assert time.monotonic() - began < 20  # each process gives its last lines five seconds


def test_every_line_is_written_or_counted_when_the_queue_is_full():
    reader, writer = os.pipe()
    full = bytes(fcntl.fcntl(writer, F_SETPIPE_SZ, 4096))
    os.write(writer, full)
    log, before = _Writer(writer, 10), metrics.LOG_LINES_DROPPED._value.get()
    lines = [b"%03d %s\n" % (number, b"x" * 500) for number in range(200)]
    log.write(lines[0])
    while log._lines.qsize():
        time.sleep(0.001)
    for line in lines[1:]:
        log.write(line)
    lost = metrics.LOG_LINES_DROPPED._value.get() - before
    assert lost == 189  # 1 is being written, 10 are in the queue
    log.write(b"dropped too\n")
    assert os.read(reader, len(full)) == full
    found = b""
    while found.count(b"\n") < 200 - lost:
        found += os.read(reader, 65536)
    assert found.splitlines(keepends=True) == lines[:int(200 - lost)]  # the first ones, whole and in order
    log.write(b"and on\n")
    log.flush(60)
    assert os.read(reader, 65536) == b"and on\n"
    os.close(reader)
    log.write(b"nobody reads this\n")
    log.flush(60)
    assert metrics.LOG_LINES_DROPPED._value.get() - before == lost + 2
    os.close(writer)


def test_every_line_is_written_when_the_file_does_not_block_and_its_reader_is_late():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    log, before = _Writer(writer, 100), metrics.LOG_LINES_DROPPED._value.get()
    lines = [b"%03d %s\n" % (number, b"x" * (500 if number % 2 else 9000)) for number in range(40)]
    for line in lines:
        log.write(line)
    log.flush(0.3)
    found = b""
    while found.count(b"\n") < len(lines):
        assert metrics.LOG_LINES_DROPPED._value.get() == before
        found += os.read(reader, 65536)
    assert found.splitlines(keepends=True) == lines
    os.close(reader)
    os.close(writer)


def test_next_line_begins_on_its_own_when_one_was_cut_off(tmp_path):
    """The limit of a file's size stands for a disk that is full for a while."""
    program = ("import resource\n"
               "from service.telemetry import metrics  # its shared memory would be limited too\n"
               "from service.telemetry.request_log import log, flush\n"
               "unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))\n"
               "log('cut off', text='x' * 2000); log('lost'); flush()\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)\n"
               "log('first'); log('second'); flush()")
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=file, timeout=300, check=True)
    cut_off, *whole = (tmp_path / "log").read_text().splitlines()
    assert len(cut_off) == 1000
    assert [json.loads(line)["event"] for line in whole] == ["first", "second"]


@pytest.mark.parametrize(("program", "event", "said"), [
    ("log('draining', seconds=1)", "draining", ""),
    ("raise ValueError('nobody catches this')", "library", "ValueError: nobody catches this"),
    ("import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", "library",
     "ZeroDivisionError"),
    ("type('Odd', (), {'__del__': lambda self: 1 / 0})()", "library", "ZeroDivisionError"),
    ("import warnings; warnings.warn('old')", "library", "UserWarning: old"),
    ("import logging; logging.getLogger('x').error('from a library')", "library", "from a library"),
])
def test_last_line_is_written_when_the_process_ends(program, event, said):
    """Whatever Python would print is a line of the log."""
    start = "from service.telemetry.request_log import log, log_libraries; log_libraries()\n"
    done = subprocess.run([sys.executable, "-c", start + program], cwd=ROOT, capture_output=True, text=True,
                          timeout=300)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == event
    assert said in line
    assert done.returncode == ("raise" in program)


def test_no_other_file_is_written_to_when_the_process_was_started_without_stderr(tmp_path):
    """Then descriptor 2 may be any file that is opened later."""
    program = ("import os; file = os.open('file', os.O_CREAT | os.O_WRONLY); assert file == 2, file\n"
               "from service.telemetry.request_log import log, flush; log('draining'); flush()")
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program], cwd=tmp_path, timeout=300,
                   env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / "file").read_bytes() == b""
