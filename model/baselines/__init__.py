"""Baselines: what anyone could fit to the same log in a minute, asked about the same users as the model.

Uses numpy, scipy and `implicit`, and never imports torch.
"""
