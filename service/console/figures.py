"""Figures: the metrics of all workers of this replica as plain values."""

from __future__ import annotations

import socket
import time
from typing import Any

from service.telemetry import metrics


def figures(port: int) -> dict[str, Any]:
    """A MetricsReply; `port` tells replicas on one machine apart."""
    return {"replica": f"{socket.gethostname()}:{port}", "at": time.time(),
            "samples": [{"name": name, "labels": labels, "value": value} for name, labels, value in metrics.samples()]}
