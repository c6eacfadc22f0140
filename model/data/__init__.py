"""Data: the tables and the declaration of a log, checked once and read as arrays.

Uses pyarrow, numpy and scipy, and never imports torch.
"""
