"""Collaborative filtering from ids alone: two towers in closed form, neighbour terms, and a small learned over-arch.

This is MoNN for users and items without features. The towers are a truncated SVD of the normalised interactions, the
interaction features are sums over the postings of a user's items and of similar users, and the over-arch is trained
on train pairs that were held out from the features.
"""
