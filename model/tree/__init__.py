"""Learning the tree: score profiles, k-means, codebooks, and the learners behind one interface."""
