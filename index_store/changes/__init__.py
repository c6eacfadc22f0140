"""The change log: its interface and its stores."""
