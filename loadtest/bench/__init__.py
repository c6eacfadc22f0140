"""The bench: searches compared in one process, with one scorer and the same queries."""
