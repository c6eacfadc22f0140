"""The online service: opens a sealed bundle and answers POST /retrieve. Never imports torch or `model`."""

import os

# ONNX Runtime asks once, when it is first loaded. Else it reports to its maker, and warns between the lines of a log.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
