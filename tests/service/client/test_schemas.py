"""The types of the client are those of the OpenAPI document."""

import subprocess
import sys

from tests.paths import ROOT

CLIENT = ROOT / "service" / "client"


def test_types_are_current_when_made_again_from_the_document(tmp_path):
    made = tmp_path / "schemas.py"
    done = subprocess.run([sys.executable, CLIENT / "write_schemas.py", made], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert made.read_text() == (CLIENT / "monn_hill" / "schemas.py").read_text(), "run `make schemas`"
