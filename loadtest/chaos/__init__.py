"""Faults under load: real processes, a real Redis, real HTTP; every reply checked against its bundle's own answer."""
