"""Guesses of a declaration: what the columns of any table are, each with its reason."""
