"""Training examples: histories without leaks, co-click counts, negatives, and tensors of a batch."""
