"""Speculation offline: a foundation model, and what a served model learns to take from its stored pairs."""
