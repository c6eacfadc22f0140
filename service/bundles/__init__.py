"""Bundles inside a worker: hosting, swapping and replaying golden requests; the channel to the supervisor."""
