"""Child processes: a service replica, a Redis server, and ending them all."""
