"""Retrieval: features, user tower, beam search, top-K. Knows no HTTP."""
