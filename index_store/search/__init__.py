"""Search over the tree: scoring, beam and exhaustive search, deadlines, the beam curve, traces and explanations."""
