"""The process that others are copies of."""

import subprocess
import sys

from tests.paths import ROOT

STATE = """
import gc, threading
import service.supervisor.template
print(threading.active_count(), gc.get_freeze_count() > len(gc.get_objects()))
"""


def test_template_has_no_thread_and_leaves_its_memory_alone():
    done = subprocess.run([sys.executable, "-c", STATE], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          check=True)
    assert done.stdout.split() == ["1", "True"]
