"""Data: every source becomes one table format, users, ads and events in Parquet beside a feature spec in JSON.

`docs/data.md` describes the format. pyarrow, numpy and scipy; knows nothing of torch or of models.
"""
