"""Training examples: histories without leaks, co-click counts, negatives, and the tensors of a batch."""
