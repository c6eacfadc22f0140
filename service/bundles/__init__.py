"""Bundles in a worker: hosting, swapping, replaying golden requests; the channel to the supervisor."""
