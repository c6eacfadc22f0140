"""Runs: their folders and models, untrained, opened or warm-started, and the workers who train one together."""
