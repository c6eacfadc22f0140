"""Speed is never reported without quality: the demo, locust users and the bench. `python -m loadtest --help`."""

import os

# ONNX Runtime asks once, when it is first loaded. Else it reports to its maker, and warns between the lines of a log.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
