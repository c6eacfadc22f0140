"""Speculative precomputation: what a foundation model said of pairs before they were asked for, and what it adds."""
