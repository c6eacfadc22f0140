"""Copies of the template, and what is started where no copy can be made."""

import os
import subprocess
import sys

from tests.paths import ROOT

START = """
import shutil, sys
from multiprocessing import util
from service.supervisor.processes import Processes

def end():
    sys.exit(7 if "service.supervisor.template" in sys.modules else 8)

if __name__ == "__main__":
    processes = Processes()
    for _ in range(2):
        process = processes.start(end)
        process.join()
        print(process.exitcode)
        shutil.rmtree(util.get_temp_dir())
"""


def test_process_is_a_copy_and_starts_from_nothing_when_the_temp_folder_is_removed(tmp_path):
    (tmp_path / "start.py").write_text(START)
    done = subprocess.run([sys.executable, tmp_path / "start.py"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300)
    assert done.stdout.split() == ["7", "8"]
    assert '"event":"process_not_forked"' in done.stderr
