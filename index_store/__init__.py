"""The code that the offline job and the service share: features, tree, targeting, search and the bundle.

Imports numpy and the standard library only; a test in a fresh interpreter checks it.
"""
