"""Nothing leaves the machine that nobody sent: ONNX Runtime's reports to its maker are off."""

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize("package", ["service", "model", "loadtest"])
def test_onnx_runtime_makes_no_telemetry_device_id_when_a_package_loads_it(package, tiny_bundle):
    program = f"import {package}, onnxruntime; onnxruntime.InferenceSession({str(tiny_bundle / 'user_tower.onnx')!r})"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**environment, "HOME": "/dev/null"})  # where it could keep no id and would warn
    assert (done.returncode, done.stderr) == (0, "")
