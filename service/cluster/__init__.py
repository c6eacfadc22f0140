"""Shards as processes, and a root with its shards on Ray Serve, which places, restarts and scales them."""
