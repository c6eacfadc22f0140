"""The C code, pair logits and sums by key, and the loader of its library."""
