"""Evaluation: the quality of a run, of its tree, and of what is served once it is exported."""
