"""The user-embedding cache: in process, then Redis behind a circuit breaker."""
