"""Measurements and fault injection: the bench, HTTP load, chaos and the demo. See `python -m loadtest --help`."""

import os

# ONNX Runtime reads this once, when it is first loaded. By default it sends telemetry, and warns amid the log.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
