"""Code shared by the offline job and the service: features, tree, change log, targeting, search and the bundle.

Imports numpy and the standard library only; a test in a fresh interpreter checks it. A change log in Redis imports its
client when it is opened.
"""
