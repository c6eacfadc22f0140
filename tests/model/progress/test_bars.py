"""Bars: what they write where there is no terminal, and that they are tqdm's on one."""

import io
import os
import pty
import sys

import pytest

from model.progress import bars
from model.progress.bars import Bar
from model.progress.lines import tell


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(bars, "time", clock)
    return clock


def test_work_of_less_than_a_minute_writes_nothing(clock):
    written = io.StringIO()
    for _ in Bar(range(50), file=written, mininterval=0):
        clock.now += 1
    assert written.getvalue() == ""


def test_nothing_is_written_where_another_process_shows_the_work(clock, monkeypatch):
    monkeypatch.setattr(Bar, "shown", False)
    written = io.StringIO()
    for _ in Bar(range(50), file=written, mininterval=0):
        clock.now += 90
    assert written.getvalue() == ""


def test_longer_work_writes_a_line_a_minute_and_a_last_one(clock):
    written = io.StringIO()
    with Bar(total=290, desc="epoch 1/2", unit="batch", file=written, mininterval=0) as bar:
        for batch in range(290):
            clock.now += 1
            bar.update()
            bar.set_postfix(batch=batch)
    lines = written.getvalue().splitlines()
    assert len(lines) == 5
    assert "\r" not in written.getvalue()
    assert all(line.startswith("epoch 1/2:") for line in lines)
    assert "60/290" in lines[0]
    assert "290/290" in lines[-1]


def test_lines_for_people_do_not_bring_the_bar_with_them(clock, capsys):
    with Bar(total=3, file=sys.stderr, mininterval=0) as bar:
        for at in range(3):
            bar.update()
            tell(f"line {at}")
    assert capsys.readouterr().err == "line 0\nline 1\nline 2\n"


def test_a_terminal_gets_the_bar_of_tqdm():
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        for _ in Bar(range(3), file=terminal, desc="quick"):
            pass
    drawn = os.read(master, 4096).decode()
    os.close(master)
    assert drawn.startswith("\rquick:   0%")
