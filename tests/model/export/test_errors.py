"""The error of an export, which the command line names without loading torch."""

import subprocess
import sys


def test_the_error_is_imported_without_torch():
    program = "import sys; from model.export.errors import ParityError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
