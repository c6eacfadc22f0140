"""Errors of an export, importable without torch."""


class ParityError(Exception):
    """The exported graphs compute other logits than the torch model; nothing was written."""
