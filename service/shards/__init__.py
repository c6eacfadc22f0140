"""Shards as their root sees them: addresses, connections, and the frames that go over these."""
