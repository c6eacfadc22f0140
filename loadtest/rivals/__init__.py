"""Searches for the top ads of a user behind one interface: beam, exhaustive, and what one would use instead."""
