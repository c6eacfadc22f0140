"""The HILL tree as flat arrays, what its nodes contain, and the format of recorded beams."""
