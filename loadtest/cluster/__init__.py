"""What an index divided among processes and machines costs."""
