"""The tree: how its codes are learned (k-means or joint codebooks), its health, and beams recorded by a service."""
