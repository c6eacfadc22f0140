"""The offline job: tables, MoNN, the HILL tree, training, evaluation and export. Never imports the service."""

import os

# ONNX Runtime asks once, when it is first loaded; without this it reports to its maker, and warns between our log lines.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
