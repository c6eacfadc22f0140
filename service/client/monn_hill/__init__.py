"""Client of the monn-hill retrieval service."""

from monn_hill.async_client import AsyncClient
from monn_hill.client import Client
from monn_hill.errors import (
    DeadlineError,
    FailedError,
    RefusedError,
    RetrievalError,
    UnavailableError,
    VersionWarning,
)
from monn_hill.version import VERSION

__all__ = ["VERSION", "AsyncClient", "Client", "DeadlineError", "FailedError", "RefusedError", "RetrievalError",
           "UnavailableError", "VersionWarning"]
