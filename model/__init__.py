"""The offline job: data, MoNN, the HILL tree, training, evaluation and export. Never imports `service`."""

import os

# ONNX Runtime asks once, when it is first loaded. Else it reports to its maker, and warns between the lines of a log.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Asked when torch is loaded. Threads that wait for each other by spinning hold the core that the other one needs, as
# soon as another process is busy too: training then takes ten times as long and more, see docs/experiments.md.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
