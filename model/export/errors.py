"""Errors of an export, importable without torch."""


class ParityError(Exception):
    """The logits of the exported graphs differ from the torch model's; nothing was written."""
