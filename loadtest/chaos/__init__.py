"""Fault injection under load: real processes, Redis and HTTP, every reply compared with the expected answer."""
