"""The objective: prepared batches, and their loss on the log, on labels of teachers and on node pairs."""
