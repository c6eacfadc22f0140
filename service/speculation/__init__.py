"""Speculation: a process beside the service that asks a foundation model about pairs before requests do."""
