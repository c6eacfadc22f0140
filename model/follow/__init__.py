"""The model that follows: learns from the change log, window by window, and promotes what it learned."""
