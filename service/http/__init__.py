"""The HTTP side of a worker: endpoints, admission control, admin calls, request logging."""
