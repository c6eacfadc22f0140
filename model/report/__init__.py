"""Report: one page of a run for people, with what it learned, how well, for whom, and beside what."""
