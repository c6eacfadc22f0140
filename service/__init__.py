"""The online half: opens a sealed bundle and answers POST /retrieve. Never imports torch or anything of `model`."""

import os

# ONNX Runtime asks once, when it is first loaded; without this it reports to its maker, and warns between our log lines.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
