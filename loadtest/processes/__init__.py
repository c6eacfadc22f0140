"""Child processes: the service, a Redis server, and stopping them all."""
