"""Progress: bars of long work and lines for people, on a terminal and in a log file."""
