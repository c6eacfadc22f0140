"""The offline job on a Ray cluster, or on a Ray of its own on this machine."""
