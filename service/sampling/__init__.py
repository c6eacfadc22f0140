"""Samples of requests: recent ones to try a new bundle on, and those of the quality meter and the beam recorder."""
