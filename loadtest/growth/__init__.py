"""Growth: what a bundle ten times larger costs to build, open and search."""
