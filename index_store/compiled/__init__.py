"""What is written in C: logits of pairs, and sums by key; and the loader of the library that they are compiled to."""
