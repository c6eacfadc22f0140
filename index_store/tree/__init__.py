"""The HILL tree as flat arrays, the content of its nodes, and the format of recorded beams."""
