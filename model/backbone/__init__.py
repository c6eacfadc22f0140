"""Collaborative filtering from ids alone: two towers in closed form, neighbour terms, and a small learned over-arch.

It is MoNN where users and items have no features: the towers are a truncated SVD of the normalised interactions, the
interaction features are sums over the postings of a user's items and of similar users, and the over-arch is trained
on a part of the train pairs that the features have not seen.
"""
