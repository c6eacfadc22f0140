"""Sampling off the request path: recent requests, the quality meter, recorded beams."""
