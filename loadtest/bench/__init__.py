"""The bench: searches compared in one process, with the same scorer and the same queries."""
