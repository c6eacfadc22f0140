"""The log: one JSON object a line on stderr. It never holds a user id, a feature or the password of an address."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import orjson


def log(event: str, **fields: Any) -> None:
    """Writes one line."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = orjson.dumps({"time": now, "process_id": os.getpid(), "event": event, **fields}, default=str,
                        option=orjson.OPT_APPEND_NEWLINE)
    with contextlib.suppress(OSError):  # nobody reads the log any more: no reason to fail a request
        sys.stderr.write(line.decode())


class _AsEvents(logging.Handler):
    """What libraries log, in our format."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        log("library", **fields)


def log_libraries() -> None:
    """Sends warnings and errors of all libraries to this log, those of the `warnings` module too."""
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_AsEvents()], level=logging.WARNING, force=True)
