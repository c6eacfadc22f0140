"""The compiled kernel: the logits of a block of pairs in one pass, in C, its loader, and the arrays that it reads."""
