"""Fault injection under load, with real processes, Redis and HTTP; every reply is compared with the expected answer."""
