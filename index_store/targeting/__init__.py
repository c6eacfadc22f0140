"""Targeting: predicates, the program that evaluates them, and the bitmap of eligible items."""
