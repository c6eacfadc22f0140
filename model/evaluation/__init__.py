"""Evaluation: the quality of a run, of its tree, and of its exported bundle."""
