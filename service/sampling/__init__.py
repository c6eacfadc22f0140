"""Samples of requests: recent ones for a new bundle, and those that the quality meter and the beam recorder take."""
