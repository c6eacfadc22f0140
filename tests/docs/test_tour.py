"""The tour: its blocks run in order as a notebook, and print what the page shows; docs/tour.ipynb holds the same."""

import doctest
import os
import re
import signal
import sys
from pathlib import Path

import jupytext
import nbclient
import psutil
import pytest

from loadtest.processes.redis_server import free_port
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "tour.md").read_text()

PORT = "8080"
SHOWN = re.compile(r"```text\n(.*?)```", re.DOTALL)
VARIES = re.compile(r"\b[0-9a-f]{16}\b|-?\b\d+(\.\d+)?(e-?\d+)?|\b(outscored|pruned)\b")
"""Ids, numbers, their signs, and where in the tree an ad was dropped: what another machine may print otherwise."""

CHECK = doctest.OutputChecker()


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_holds_the_blocks_of_the_page():
    notebook = jupytext.read(ROOT / "docs" / "tour.ipynb")
    assert cells(notebook) == cells(jupytext.reads(PAGE, "md")), "write it again: make notebook"
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the tour is taken: the programs and code of this checkout are found; its service ends with the test."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'service' / 'client'}")
    yield tmp_path
    pid = tmp_path / "tour" / "service.pid"
    if pid.exists() and psutil.pid_exists(int(pid.read_text())):
        os.kill(int(pid.read_text()), signal.SIGKILL)


def printed(cell):
    """What a cell has printed, standard error first, as `train` does."""
    return "".join(output.text for name in ("stderr", "stdout") for output in cell.outputs
                   if output.get("name") == name)


def test_each_block_prints_what_the_page_shows(folder):
    port = str(free_port())
    notebook = jupytext.reads(PAGE.replace(PORT, port), "md")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    compared = 0
    for at, cell in enumerate(notebook.cells[:-1]):
        shown = SHOWN.match(notebook.cells[at + 1].source)
        if cell.cell_type == "code" and shown:
            want, got = VARIES.sub("#", shown[1]), VARIES.sub("#", printed(cell))
            same = CHECK.check_output(want, got, doctest.NORMALIZE_WHITESPACE)
            assert same, f"{cell.source}\nprints\n{printed(cell)}"
            compared += 1
        else:
            assert cell.cell_type == "markdown" or not printed(cell).strip(), f"{cell.source}\nprints, but shows none"
    assert compared == len(SHOWN.findall(PAGE)) >= 14
