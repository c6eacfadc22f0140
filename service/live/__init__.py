"""Changes of ads: accepts writes, and applies the change log to the snapshots of a worker."""
