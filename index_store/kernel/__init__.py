"""The compiled kernel: a folded scorer as the arrays that C reads, and its calls."""
