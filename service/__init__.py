"""The online half: opens a sealed bundle and answers POST /retrieve. Never imports torch or anything of `model`."""
