"""Data: every source becomes users, ads and events in Parquet and a declaration in JSON (docs/data.md).

Uses pyarrow, numpy and scipy, and never imports torch.
"""
