"""Sizes of the planted world that the fixture `world` writes."""

ADS, USERS, EVENTS, SEED = 600, 1_500, 60_000, 11
