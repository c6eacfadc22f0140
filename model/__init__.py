"""The offline job: tables, MoNN, the HILL tree, training, evaluation and export. Never imports the service."""

import os

# ONNX Runtime asks once, when it is first loaded. Else it reports to its maker, and warns between the lines of a log.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
