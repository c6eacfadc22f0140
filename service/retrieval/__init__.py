"""Retrieval: features, user tower, beam search, top-K."""
