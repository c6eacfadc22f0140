"""Training examples: leak-free histories, co-click counts, negatives, and the tensors of a batch."""
