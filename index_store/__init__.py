"""The ground that the offline job and the service share: features, postings, tree, search and the bundle.

Imports numpy and the standard library only; a test in a fresh interpreter holds it to that.
"""
